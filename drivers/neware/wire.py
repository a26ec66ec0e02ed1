r"""The line to a BTS 8 server: XML messages over TCP, each ended by `\n\n#\r\n`, one request at a time.

A reply names its command (`inquire_resp`), not its request: one to another command is late or lost its way, and then
the link is left, opened again and logged in anew before the next request.

Facts: what EmpaEconversion/aurora-neware 0.2.3 sends, and its recording of a BTS 8.0 machine's replies.
"""

from __future__ import annotations

import asyncio
import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from labd.io.tcp import TcpLink
from labd.sdk import Fault, OutcomeUnknown, Unreachable

END = b"\n\n#\r\n"
PORT = 502
ANSWER_LIMIT = 10.0  # s
DOWNLOAD_LIMIT = 30.0  # s; a thousand rows of a long test take the server seconds
LATE = 2.0  # s
LONGEST = 2**22  # bytes; a thousand rows are some 250 kB
MOST_ROWS = 1000
_HEAD = '<?xml version="1.0" encoding="UTF-8" ?><bts version="1.0">'
_MISSPELT = {"donwload_resp": "download_resp"}  # the vendor's own


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as the server addresses it: `ip`, `devtype`, `devid`, `subdevid`, `chlid`."""

    unit: str
    ip: str
    kind: str

    @property
    def address(self) -> str:
        """Its attributes, without the address of its server."""
        device, sub, number = self.unit.split("-")
        return f'devtype="{self.kind}" devid="{device}" subdevid="{sub}" chlid="{number}"'

    @property
    def whole(self) -> str:
        return f'ip="{self.ip}" {self.address}'


@dataclass(frozen=True, slots=True)
class Look:
    """What `inquire` tells of a channel. Values in V and A."""

    state: str
    barcode: str
    voltage: float | None
    current: float | None
    cycle: int | None
    step: str
    log_code: str

    @property
    def busy(self) -> bool:
        """Whether a test is on it, paused or not."""
        return self.state not in {"finish", "stop", "protect"}


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a test: the step by its number in the file, s within the step, V, A, mAh within the step."""

    number: int
    step: int
    time: float
    voltage: float
    current: float
    charge: float


class Bts:
    """One server, and one login on it."""

    def __init__(self, host: str, port: int, user: str) -> None:
        self.link = TcpLink(host, port, late=LATE, limit=LONGEST)
        self._login = (user, "")
        self._turn = asyncio.Lock()

    async def enter(self, password: str) -> None:
        """Opens the link and logs in, now and whenever the link was lost for an answer.

        Raises:
            Unreachable: nobody listens, or nobody answers.
            Fault: the login is refused.
        """
        async with self._turn:
            self._login = (self._login[0], password)
            await self._enter()

    async def _enter(self) -> None:
        await self.link.reopen()
        user, password = self._login
        body = f"<username>{escape(user)}</username><password>{escape(password)}</password><type>bfgs</type>"
        try:
            root = await self._exchange("connect", body, ANSWER_LIMIT)
        except OutcomeUnknown as error:
            await self.link.close()
            raise Unreachable(
                f"{self.link.address}: no answer to a login; is this the port of the BTS server's interface?"
            ) from error
        if root.findtext("result") != "ok":
            await self.link.close()
            raise Fault(f"{self.link.address}: the BTS server refuses the login of {user}")

    async def ask(self, command: str, body: str, limit: float = ANSWER_LIMIT) -> ET.Element:
        """One command with its reply.

        Raises:
            Unreachable: the link is down; nothing was sent.
            OutcomeUnknown: no reply, or one to something else.
        """
        async with self._turn:
            if self.link.is_open and self.link.dirty:
                await self._enter()
            return await self._exchange(command, body, limit)

    async def _exchange(self, command: str, body: str, limit: float) -> ET.Element:
        async with self.link.exchange(limit, reopen=False) as exchange:
            await exchange.write(f"{_HEAD}<cmd>{command}</cmd>{body}</bts>".encode() + END)
            reply = await exchange.read_until(END)
        try:
            root = _read(reply, f"{command}_resp")
        except (ET.ParseError, ValueError) as error:
            self.link.dirty = True
            shown = reply[:200].decode("utf-8", "backslashreplace")
            raise OutcomeUnknown(
                f"{self.link.address}: what came is no answer to {command}: {error}", sent=command, received=shown
            ) from error
        return root

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────
    async def channels(self) -> dict[str, Channel]:
        """All channels of the server, by `device-subdevice-channel`."""
        root = await self.ask("getdevinfo", "")
        found = [
            Channel(
                f"{one.get('devid')}-{one.get('subdevid')}-{one.get('Channelid')}",
                one.get("ip", "127.0.0.1"),
                one.get("devtype", ""),
            )
            for one in root.iter("channel")
        ]
        return {channel.unit: channel for channel in found}

    async def look(self, channels: list[Channel]) -> list[Look]:
        """What channels do now, in the order asked."""
        asked = "".join(f'<inquire {channel.whole} aux="0" barcode="1">true</inquire>' for channel in channels)
        root = await self.ask("inquire", f'<list count="{len(channels)}">{asked}</list>')
        rows = list(root.iter("inquire"))
        units = [row.get("dev", "").split("-")[1:4] for row in rows]
        # some firmware tells every subdevice as 1
        same = [(unit[0], unit[2]) if len(unit) == 3 else () for unit in units]
        if same != [(parts[0], parts[2]) for parts in (channel.unit.split("-") for channel in channels)]:
            raise self._stale("inquire", ", ".join(row.get("dev", "?") for row in rows))
        return [
            Look(
                state=row.get("workstatus", ""),
                barcode=row.get("barcode", ""),
                voltage=_number(row.get("voltage")),
                current=_number(row.get("current")),
                cycle=_whole(row.get("cycle_id")),
                step=row.get("step_type", ""),
                log_code=row.get("log_code", ""),
            )
            for row in rows
        ]

    async def test(self, channel: Channel) -> tuple[int, int]:
        """The number of a channel's last test, and how many rows it has."""
        root = await self.ask("inquiredf", f'<list count="1"><chl {channel.address} testid="0" /></list>')
        row = root.find("list/chl")
        number, count = (None, None) if row is None else (_whole(row.get("testid")), _whole(row.get("count")))
        if number is None or count is None:
            raise self._stale("inquiredf", ET.tostring(root, "unicode")[:200])
        return number, count

    async def rows(self, channel: Channel, test: int, start: int) -> list[Record]:
        """The rows of a test from number `start` on, MOST_ROWS at most: what follows without a gap.

        The channel's last test is asked for (number 0), and must be that one.
        """
        body = f'<download {channel.address} auxid="0" testid="0" startpos="{start}" count="{MOST_ROWS}"/>'
        root = await self.ask("download", body, DOWNLOAD_LIMIT)
        head = root.find("download")
        if head is None or head.get("testid") != str(test) or head.get("startpos") != str(start):
            raise self._stale("download", "" if head is None else ET.tostring(head, "unicode"))
        found: list[Record] = []
        try:
            for row in root.iter("data"):
                number = int(row.attrib["seqid"])
                if number == start + len(found):
                    found.append(_record(number, row))
        except (KeyError, ValueError) as error:
            raise self._stale("download", f"{error!r}") from error
        return found

    async def order(self, command: str, channel: Channel, more: str = "", text: str = "true", after: str = "") -> bool:
        """Orders something of one channel; gives whether the answer is `ok`, not `false`."""
        one = f"<{command} {channel.whole}{more}>{escape(text)}</{command}>"
        root = await self.ask(command, f'<list count="1">{one}{after}</list>')
        answer = root.find(f"list/{command}")
        said = "" if answer is None else (answer.text or "").strip()
        if said not in {"ok", "false"}:
            raise self._stale(command, said)
        return said == "ok"

    async def start(self, channel: Channel, barcode: str, file: str, backup: str) -> bool:
        """Starts a step file, which the server reads by its name; gives whether it did."""
        keep = (
            f'<backup backupdir={quoteattr(backup)} remotedir="" filenametype="0" customfilename="" '
            'addtimewhenrepeat="0" createdirbydate="0" filetype="0" backupontime="1" backupontimeinterval="720" '
            'backupfree="1" />'
        )
        return await self.order("start", channel, f" barcode={quoteattr(barcode)}", file, keep)

    async def stop(self, channel: Channel) -> bool:
        """Ends a channel's test; gives whether there was one."""
        return await self.order("stop", channel)

    def _stale(self, command: str, received: str) -> OutcomeUnknown:
        self.link.dirty = True
        return OutcomeUnknown(
            f"{self.link.address}: the answer to {command} is of something else", sent=command, received=received
        )


def _read(reply: bytes, wanted: str) -> ET.Element:
    if b"<!" in reply:  # a document type is where entities grow without end; the server sends none
        raise ValueError("it has a document type")
    root = ET.fromstring(reply)  # noqa: S314 - without a document type nothing in it can expand
    if root.tag != "bts":
        raise ValueError(f"it is <{root.tag}>")
    told = (root.findtext("cmd") or "").strip()
    if _MISSPELT.get(told, told) != wanted:
        raise ValueError(f"it is `{told}`")
    return root


def _record(number: int, row: ET.Element) -> Record:
    """Raises KeyError, ValueError: it is no row of a test."""
    values = [float(row.attrib[name]) for name in ("testtime", "volt", "curr", "cap")]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"row {number} has no numbers")
    time, voltage, current, charge = values
    return Record(number, int(row.attrib["stepid"]), time / 1e3, voltage, current, charge * 1e3)


def _number(text: str | None) -> float | None:
    try:
        found = math.nan if text is None else float(text)
    except ValueError:
        return None  # `--`
    return found if math.isfinite(found) else None


def _whole(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else int(number)
