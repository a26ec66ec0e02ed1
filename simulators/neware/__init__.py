"""A Neware cycler with its BTS 8 server, which speaks XML over TCP."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any
from xml.sax.saxutils import quoteattr

from labd import clock
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import Client, TextServer, host_and_port
from simulators._kit.trial import Trial
from simulators._kit.world import World
from simulators.faults.knobs import switch
from simulators.faults.words import Takes
from simulators.holder import Holder
from simulators.neware.channel import PAUSE, PROTECT, WORKING, Channel
from simulators.neware.schedule import BadSchedule

END = b"\n\n#\r\n"
PIECE = 2048  # bytes in which a reply leaves
PORT = 502
DEVICE_TYPE = 27
MOST_ROWS = 1000  # of one download
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\r\n<bts version="1.0">\r\n'
_COLUMNS = ("seqid", "stepid", "cycleid", "steptype", "testtime", "atime", "volt", "curr", "cap", "eng")


def _lay(world: World) -> None:
    world.lay_cell("cycler/21-1-1", clock.now().timestamp())


_REST = {"duration": "20 s", "interval": "5 s"}
_TRIAL = Trial(
    name="cycler",
    settings={"address": "127.0.0.1:0", "channels": ["21-1-1"], "directory": "steps", "max_current": "10 mA"},
    furnish=_lay,
    acts=(
        ("open_circuit", _REST),
        ("constant_current", {"current": "0.1 mA", "until_time": "20 s"}),
        ("constant_voltage", {"voltage": "3.7 V", "until_time": "20 s"}),
        ("cycle", {"upper": "3.8 V", "lower": "3.4 V", "cycles": 1, "current": "1 mA", "half_cycle_limit": "30 s"}),
        ("cell_off", {}),
    ),
    effect=lambda simulator: {"tests": simulator.channels["21-1-1"].memory["testid"]},
    reads=(b"<cmd>connect<", b"<cmd>getdevinfo<", b"<cmd>inquire<", b"<cmd>inquiredf<", b"<cmd>download<"),
)


_CHANNEL = {"channel": Takes("text", "which, 1-1-1", needed=True)}


class NewareSimulator(Simulator):
    """The cycler `<name>`; the cell of channel `21-1-1` is the one at `<name>/21-1-1`.

    Settings: `address` (`tcp://host:port`), `channels`, `directory` (where step files are; relative: under the bench's
    directory), `directory_there` (the same as the cycler's own PC names it), `user`.

    Options: `history`, the barcode of the last test by channel, which has finished; `password` of its interface.

    Commands, replies and their quirks as a BTS 8.0 machine's (recording of EmpaEconversion/aurora-neware d4234f7b):
    `donwload_resp`, a start that is refused by `false`, a subdevice that getchlstatus always tells as 1.

    Faults, besides those of the line (see `TextServer`):
        lost_reply_to (a command, once): its next reply is lost, after its effect.
        start_false (int, counts down): so many starts are answered `false`, and nothing begins.
        protect (a channel, once): protection ends its test.
        stopped (a channel, once): somebody stops its test at the cycler's PC.
        paused (a channel): somebody has paused it, for as long as this stands.
        open_circuit (bool): contacts are off; no cells.
    """

    trial = _TRIAL

    FAULTS = {
        "refused": switch("start_false", counts=True),
        "open_circuit": switch("open_circuit"),
        "crash": switch("protect", takes=_CHANNEL, make=lambda given, _: given["channel"]),
        "by_hand": switch("paused", takes=_CHANNEL, make=lambda given, _: given["channel"]),
    }

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._ahead = 0.0
        memory = self.world.memory(self.name)
        channels = [str(unit) for unit in bench.settings.get("channels") or ("1-1-1",)]
        self.channels: dict[str, Channel] = {}
        for unit in channels:
            holder = Holder(self.world, f"{self.name}/{unit}", bench.random(), self.faults)
            self.channels[unit] = Channel(unit, holder, memory.setdefault(unit, {}), bench.random(), self._wall)
        for unit, barcode in dict(bench.options.get("history") or {}).items():
            memory["testid"] = int(memory.get("testid", 0)) + 1
            self.channels[unit].memory.update(barcode=str(barcode), testid=memory["testid"])
        self._known: set[Client] = set()
        self._server: TextServer | None = None
        self._commands: dict[str, Callable[[ET.Element], str]] = {
            "getdevinfo": self._getdevinfo,
            "getchlstatus": self._getchlstatus,
            "inquire": self._inquire,
            "inquiredf": self._inquiredf,
            "start": self._start,
            "stop": self._stop,
            "download": self._download,
            "downloadlog": self._downloadlog,
            "downloadStepLayer": self._download_steps,
            "clearflag": lambda root: self._each(root, "clearflag", lambda channel: channel.state == PROTECT),
            "light": lambda root: self._each(root, "light", lambda _: True),
        }

    def _wall(self) -> float:
        return clock.now().timestamp() + self._ahead

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Begins to listen; gives `address` and `directory`. Tests that ran go on, whoever listened meanwhile.

        Raises:
            OSError: the port is taken.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._server = TextServer(
            self._on_message, on_leave=self._known.discard, end=END, chunk=PIECE, faults=self.faults
        )
        host, port = host_and_port(str(self.bench.settings.get("address") or "127.0.0.1:0"), PORT)
        return {"address": f"tcp://{host}:{await self._server.start(host, port)}", "directory": str(self._directory)}

    async def stop(self) -> None:
        """Ends the server on the cycler's PC; the channels go on."""
        self._advance()
        if self._server is not None:
            await self._server.stop()
            self._server = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the channels, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    @property
    def _directory(self) -> Path:
        return (self.bench.directory / str(self.bench.settings.get("directory") or f"{self.name}-steps")).resolve()

    def _advance(self) -> None:
        for unit, channel in self.channels.items():
            channel.advance()
            channel.pause(on=self.faults.get("paused") == unit)
            if self.faults.get("protect") == unit and channel.state == WORKING:
                del self.faults["protect"]
                channel.end(PROTECT, 100021)
            if self.faults.get("stopped") == unit and channel.state == WORKING:
                del self.faults["stopped"]
                channel.end()

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _on_message(self, client: Client, message: str) -> None:
        try:
            root = ET.fromstring(message)  # noqa: S314 - a test bench's own clients
        except ET.ParseError:
            return
        command = (root.findtext("cmd") or "").strip()
        self._advance()
        if command == "connect":
            reply = self._connect(client, root)
        elif client not in self._known or command not in self._commands:
            reply = f"  <cmd>{command}_resp</cmd>\r\n  <result>false</result>\r\n"
        else:
            reply = self._commands[command](root)
        if self.faults.get("lost_reply_to") == command:
            del self.faults["lost_reply_to"]
            return
        client.send(f"{_HEAD}{reply}</bts>")

    def _connect(self, client: Client, root: ET.Element) -> str:
        user, password = self.bench.settings.get("user", "admin"), self.bench.options.get("password", "neware")
        known = (root.findtext("username"), root.findtext("password"), root.findtext("type")) == (
            user,
            password,
            "bfgs",
        )
        if known:
            self._known.add(client)
        return f"  <cmd>connect_resp</cmd>\r\n  <result>{'ok' if known else 'false'}</result>\r\n"

    # ── what it tells ────────────────────────────────────────────────────────────────────────────────────────────
    def _getdevinfo(self, root: ET.Element) -> str:
        del root
        rows = "".join(
            f'    <channel ip="127.0.0.1" devtype="{DEVICE_TYPE}" devid="{device}" subdevid="{sub}" '
            f'Channelid="{number}">{_yes(not self._busy(channel))}</channel>\r\n'
            for channel in self.channels.values()
            for device, sub, number in [channel.unit.split("-")]
        )
        return (
            '  <cmd>getdevinfo_resp</cmd>\r\n  <serverip count="1">\r\n    <server ip="127.0.0.1" port="3306" />\r\n'
            f'  </serverip>\r\n  <middle count="{len(self.channels)}">\r\n{rows}  </middle>\r\n'
        )

    def _getchlstatus(self, root: ET.Element) -> str:
        rows = []
        for channel in self._asked(root):
            device, _, number = channel.unit.split("-")
            rows.append(
                f'<status ip="127.0.0.1" devtype="{DEVICE_TYPE}" devid="{device}" subdevid="1" chlid="{number}" '
                f'reservepause="1">{channel.state}</status>'
            )
        return _listed("getchlstatus", rows)

    def _inquire(self, root: ET.Element) -> str:
        return _listed("inquire", [self._inquired(channel, asked) for channel, asked in self._pairs(root)])

    def _inquired(self, channel: Channel, asked: ET.Element) -> str:
        memory, step, active = channel.memory, channel.step, self._busy(channel)
        last = channel.rows[-1] if channel.rows else None
        kind = str(last[3]) if active and last is not None else "--"
        told: dict[str, object] = {
            "dev": f"{DEVICE_TYPE}-{channel.unit}-0",
            "cycle_id": memory["cycle"] if active else 1,
            **({"step_id": step.number} if step is not None else {}),
            "step_type": kind,
            "workstatus": channel.state,
            **({"barcode": memory["barcode"]} if asked.get("barcode") == "1" else {}),
            "current": _rounded(channel.current if active else 0.0, 4),
            "voltage": _rounded(channel.voltage, 4),
            "capacity": _rounded(memory["charge"] if active else 0.0, 4),
            "energy": _rounded(memory["energy"] if active else 0.0, 4),
            "totaltime": _rounded(memory["at"] - memory["began"] if active else 0.0, 1),
            "relativetime": _rounded(memory["step_at"] if active else 0.0, 1),
            "open_or_close": 0,
            "log_code": memory["log_code"],
        }
        return f"<inquire {_attributes(told)} />"

    def _inquiredf(self, root: ET.Element) -> str:
        rows = []
        for channel in self._asked(root):
            told = {**_address(channel), "testid": channel.memory["testid"], "count": len(channel.rows)}
            rows.append(f"<chl {_attributes(told)}>{_yes(not self._busy(channel))}</chl>")
        return _listed("inquiredf", rows)

    def _download(self, root: ET.Element) -> str:
        asked = root.find("download")
        channel = None if asked is None else self._channel(asked)
        if asked is None or channel is None:
            return "  <cmd>donwload_resp</cmd>\r\n  <result>false</result>\r\n"
        start, count = int(asked.get("startpos", "0")), int(asked.get("count", "0"))
        same = asked.get("testid") in ("0", str(channel.memory["testid"]))
        rows = channel.rows[max(0, start - 1) :][: min(count, MOST_ROWS)] if same and start >= 0 else []
        told = {**_address(channel), "testid": channel.memory["testid"], "startpos": start, "count": count, "auxid": 0}
        shown = [f"<data {_attributes(dict(zip(_COLUMNS, row, strict=True)))} />" for row in rows]
        return _listed("donwload", shown, f"  <download {_attributes(told)} />\r\n")

    def _downloadlog(self, root: ET.Element) -> str:
        asked = root.find("download")
        channel = None if asked is None else self._channel(asked)
        if channel is None:
            return "  <cmd>donwloadlog_resp</cmd>\r\n  <result>false</result>\r\n"
        told = {**_address(channel), "testid": channel.memory["testid"], "log_lever": 0}
        log = [dict(zip(("seqid", "log_code", "atime"), entry, strict=True)) for entry in channel.memory["log"]]
        shown = [f"<data {_attributes(entry)} />" for entry in log]
        return _listed("donwloadlog", shown, f"  <download {_attributes(told)} />\r\n")

    def _download_steps(self, root: ET.Element) -> str:
        asked = root.find("downloadStepLayer")
        channel = None if asked is None else self._channel(asked)
        if channel is None:
            return "  <cmd>downloadStepLayer_resp</cmd>\r\n  <result>false</result>\r\n"
        told = {**_address(channel), "testid": channel.memory["testid"]}
        shown = [f"<data {_attributes(layer)} />" for layer in _layers(channel.rows)]
        return _listed("downloadStepLayer", shown, f"  <downloadStepLayer {_attributes(told)} />\r\n")

    # ── what it does ─────────────────────────────────────────────────────────────────────────────────────────────
    def _start(self, root: ET.Element) -> str:
        return _listed("start", [self._answered("start", one, self._begin(one)) for one in root.iter("start")])

    def _begin(self, asked: ET.Element) -> bool:
        if self.faults.get("start_false"):
            self.faults["start_false"] = int(self.faults["start_false"]) - 1
            return False
        channel = self._channel(asked)
        if channel is None or self._busy(channel):
            return False
        memory = self.world.memory(self.name)
        testid = int(memory.get("testid", 0)) + 1
        try:
            text = self._file(asked.text or "").read_text(encoding="utf-8")
            channel.start(text, asked.get("barcode", ""), testid)
        except (OSError, BadSchedule, ValueError):
            return False
        memory["testid"] = testid
        self.world.save()
        return True

    def _file(self, name: str) -> Path:
        """A file as this side reaches it, whatever the cycler's PC calls its folder."""
        there = str(self.bench.settings.get("directory_there") or "")
        name = name.strip()
        if there and name.lower().startswith(there.lower()):
            rest = PureWindowsPath(name[len(there) :].lstrip("\\/"))
            return self._directory.joinpath(*rest.parts)
        return Path(name)

    def _stop(self, root: ET.Element) -> str:
        def ended(channel: Channel) -> bool:
            busy = self._busy(channel)
            channel.end()
            return busy

        return self._each(root, "stop", ended)

    def _each(self, root: ET.Element, command: str, act: Callable[[Channel], bool]) -> str:
        answers = []
        for asked in root.iter(command):
            channel = self._channel(asked)
            answers.append(self._answered(command, asked, channel is not None and act(channel)))
        self.world.save()
        return _listed(command, answers)

    @staticmethod
    def _answered(command: str, asked: ET.Element, good: bool) -> str:
        told = {key: asked.get(key, "") for key in ("ip", "devtype", "devid", "subdevid", "chlid")}
        return f"<{command} {_attributes(told)}>{'ok' if good else 'false'}</{command}>"

    # ── channels ─────────────────────────────────────────────────────────────────────────────────────────────────
    @staticmethod
    def _busy(channel: Channel) -> bool:
        return channel.state in (WORKING, PAUSE)

    def _channel(self, asked: ET.Element) -> Channel | None:
        return self.channels.get("-".join(asked.get(key, "") for key in ("devid", "subdevid", "chlid")))

    def _pairs(self, root: ET.Element) -> list[tuple[Channel, ET.Element]]:
        listed = root.find("list")
        pairs = [(self._channel(asked), asked) for asked in (listed if listed is not None else ())]
        return [(channel, asked) for channel, asked in pairs if channel is not None]

    def _asked(self, root: ET.Element) -> list[Channel]:
        return [channel for channel, _ in self._pairs(root)]


def _address(channel: Channel) -> dict[str, object]:
    device, sub, number = channel.unit.split("-")
    return {"devtype": DEVICE_TYPE, "devid": device, "subdevid": sub, "chlid": number}


def _layers(rows: list[list[Any]]) -> list[dict[str, Any]]:
    """One entry for each step that was gone through."""
    found: list[dict[str, Any]] = []
    for seqid, stepid, cycleid, steptype, testtime, atime, volt, curr, cap, eng in rows:
        if not found or testtime == 0:
            found.append({"startseqid": seqid, "endseqid": seqid, "stepindex": len(found) + 1, "stepid": stepid,
                "cycleid": cycleid, "steptype": steptype, "steptime": 0, "endatime": atime, "startvolt": volt,
                "endvolt": volt, "startcurr": curr, "endcurr": curr, "cap": cap, "eng": eng, "dcir": 0})  # fmt: skip
        found[-1].update(
            endseqid=seqid, steptime=testtime, endatime=atime, endvolt=volt, endcurr=curr, cap=cap, eng=eng
        )
    return found


def _listed(command: str, rows: list[str], before: str = "") -> str:
    told = f'  <list count="{len(rows)}" />\r\n'
    if rows:
        told = f'  <list count="{len(rows)}">\r\n{"".join(f"    {row}{chr(13)}{chr(10)}" for row in rows)}  </list>\r\n'
    return f"  <cmd>{command}_resp</cmd>\r\n{before}{told}"


def _attributes(told: dict[str, Any]) -> str:
    return " ".join(
        f"{name}={quoteattr(f'{value:.15g}' if isinstance(value, float) else str(value))}"
        for name, value in told.items()
    )


def _rounded(value: float, digits: int) -> str:
    """As BTS writes it: no more digits than needed."""
    return f"{round(value, digits) + 0.0:.{digits}f}".rstrip("0").rstrip(".") or "0"


def _yes(value: bool) -> str:
    return "true" if value else "false"


SIMULATOR = NewareSimulator
