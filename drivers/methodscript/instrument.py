"""The conversation with an instrument: who it is, running a script, ending it, finding the thread again."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable

from drivers.methodscript import wire
from drivers.methodscript.wire import Echo, End, Error, Garbage, Mark, Package
from labd import clock
from labd.io import Exchange, LinkLost, StreamLink
from labd.sdk import Fault, OutcomeUnknown, Rejected, Unreachable

ANSWER_LIMIT = 3.0  # s; commands are answered within milliseconds
LOAD_LIMIT = 10.0  # s; reading a script, which at 230400 baud takes a tenth
ABORT_LIMIT = 10.0  # s; an abort waits for the measurement of one point
QUIET = 0.02  # s; so long nothing must come before a script is sent
AFTER_ERROR = 0.15  # s that an instrument needs after any `!`
HEARD = 1.0  # s within which an abort is echoed
_ATTEMPTS = 4
_KEPT = 200_000  # packages of a script that nobody has taken up yet
_VERSION = re.compile(r"t(\S+#.*)")


class Instrument:
    """One instrument on one link.

    Args:
        link: to its port, not open.
    """

    def __init__(self, link: StreamLink) -> None:
        self.link = link
        self.left: deque[Package] | None = None  # packages of a script that runs, and that nobody follows
        self.on_package: Callable[[Package], None] = lambda _: None  # every package passes here
        self._following = False
        self._lost_thread = False
        self._talk: deque[Package] | None = None  # what a script says that may have ended since
        self._news = False  # what comes of `left` is from now
        self._interjected = False  # something was sent into the script that runs, or is about to

    @property
    def occupied(self) -> bool:
        """Whether a script runs on it, as far as is known."""
        return self._following or self.left is not None

    @property
    def lost_thread(self) -> bool:
        """Whether something was given up in its midst, so that what comes next may belong to it."""
        return self._lost_thread or self.link.dirty

    # ── who it is ────────────────────────────────────────────────────────────────────────────────────────────────
    async def identify(self) -> str:
        """Its version (`es4_hr1304#Oct 22 2021 14:38:26 R`); empty when it is busy with a script of an earlier life.

        Disturbs no script: it asks `t`, and a script that runs refuses it or goes on talking.

        Raises:
            Unreachable: nothing that speaks MethodSCRIPT answers.
        """
        heard: list[str] = []
        async with self.link.exchange(None) as exchange:
            self.left, self._lost_thread = None, False
            request = b"t\n"
            for _ in range(_ATTEMPTS):
                await exchange.write(request)
                try:
                    version = await self._version(exchange, heard)
                except TimeoutError:
                    # It may still wait for the end of a line, or of a script that was cut off when its program died:
                    # that must end as one that cannot be read, and never be run.
                    request = b"?\n\nt\n"
                    continue
                request = b"t\n"
                if version is not None:
                    await self._swallow()
                    return version
                if self.left is not None:
                    await asyncio.sleep(AFTER_ERROR)  # deaf after its refusal: an abort would be lost
                    return ""
                await self._swallow()
        await self.link.close()
        said = f"; it said {heard[-1]!r}" if heard else ""
        raise Unreachable(
            f"{self.link.address}: no instrument with MethodSCRIPT answers{said}; is it on, is this its port, and "
            "does `model` give its baud rate?"
        )

    async def _version(self, exchange: Exchange, heard: list[str]) -> str | None:
        """What `t` is answered with; None when it is refused, by a script that runs (`left`) or for another reason.

        What comes before the answer may be old: of a script that runs it is kept, but is no news; of one that has
        ended since, it is dropped.
        """
        self._talk = None
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                return await self._answer_to_t(exchange, heard)
        except TimeoutError:
            if self._talk is None:
                raise
            self.left, self._news = self._talk, False  # it does not answer, and goes on talking
            return None

    async def _answer_to_t(self, exchange: Exchange, heard: list[str]) -> str | None:
        while True:
            line = await exchange.read_line()
            match wire.read(line):
                case Package() | Mark() as said:
                    self._talk = self._talk or deque(maxlen=_KEPT)
                    if isinstance(said, Package):
                        self._talk.append(said)
                case End():
                    self._talk = None
                case Error(code="0006"):
                    self.left, self._news = self._talk or deque(maxlen=_KEPT), True
                    return None
                case Error():
                    heard.append(line)
                    return None
                case Garbage():
                    found = _VERSION.fullmatch(line)
                    if found is not None:
                        rest = await exchange.read_line()
                        return f"{found[1]} {rest.removesuffix('*')}".strip()
                    heard.append(line)

    async def serial_number(self) -> str:
        """What it answers to `i`; empty when it does not tell."""
        async with self.link.exchange(ANSWER_LIMIT) as exchange:
            await exchange.write(b"i\n")
            line = await exchange.read_line()
        if isinstance(wire.read(line), Error):
            await self._swallow()
            return ""
        return line[1:] if line.startswith("i") else ""

    # ── scripts ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def run(self, script: str, gap: float, on_accepted: Callable[[], None] = lambda: None) -> None:
        """Runs a script to its end; its packages go to `on_package`.

        Args:
            script: as `script.script` makes it.
            gap: s; the longest time that two lines may be apart.
            on_accepted: told when the instrument has taken the script.

        Raises:
            Rejected: the instrument refuses it, or is busy with another: nothing was switched on.
            Unreachable: nothing was sent.
            OutcomeUnknown: it fell silent, or the link broke.
            Fault: it ended with an error; `on_finished:` was skipped, so the cell may still be on.
        """
        if self.lost_thread:
            await self.identify()
        if self.left is not None:
            raise Rejected("a script of an earlier order still runs on it; take that up, or make the device safe first")
        async with self.link.exchange(None) as exchange:
            self._following = self._lost_thread = True
            self._interjected = False
            try:
                await self.link.drain(QUIET)  # an answer that came twice is not this script's
                if self._interjected:
                    raise Rejected("it was ended before it began; nothing was switched on")
                await exchange.write(script.encode("ascii"))
                await self._accepted(exchange, script)
                on_accepted()
                await self._follow(exchange, gap)
                self._lost_thread = False
            finally:
                self._following = False

    async def follow(self, gap: float) -> None:
        """Follows to its end a script that is running already; what it said so far is in `left`.

        Raises:
            OutcomeUnknown, Fault: as `run`.
        """
        async with self.link.exchange(None) as exchange:
            waiting, self.left = self.left or deque(), None
            self._following = self._lost_thread = True
            exchange.sent = b"(an earlier script)"  # whatever breaks now: it was ordered
            try:
                for package in waiting:
                    self.on_package(package)
                await self._follow(exchange, gap)
                self._lost_thread = False
            finally:
                self._following = False

    async def _accepted(self, exchange: Exchange, script: str) -> None:
        while True:
            match wire.read(await exchange.read_line(LOAD_LIMIT)):
                case Echo(text="e"):
                    return
                case Error(echo="e" | "") as error:
                    await self._swallow()
                    self._lost_thread = False
                    lines = script.splitlines()
                    at = f" `{lines[error.line]}`" if error.line is not None and error.line < len(lines) else ""
                    raise Rejected(f"the instrument refuses the script: {error}{at}", received=str(error))
                case Package() | Mark():
                    raise OutcomeUnknown("another script was running; is a second program on this instrument?")
                case _:
                    continue

    async def _follow(self, exchange: Exchange, gap: float) -> None:
        loops = 0  # that are open
        while True:
            line = await exchange.read_line(gap)
            match wire.read(line):
                case Package() as package:
                    self.on_package(package)
                case Mark(text=text):
                    loops = loops + 1 if text[0] in "MCL" else max(0, loops - 1)
                case Echo(text="Z"):
                    loops = 0
                case End() if loops:  # within a loop no script ends: this was a loop's end, and lost its sign
                    loops -= 1
                case End():
                    return
                case Error(echo="") as error:
                    await self._swallow()
                    self._lost_thread = False
                    raise Fault(f"the script stopped: {error}", received=line)
                case Error():  # of a Y or Z that came too late
                    await asyncio.sleep(AFTER_ERROR)
                case _:  # marks, echoes, texts; and lines that were damaged: the next ones count
                    continue

    async def glean(self) -> None:
        """Takes what a script that nobody follows has said by now; never waits for more."""
        if self.left is None:
            return
        async with self.link.exchange(None, reopen=False) as exchange:
            exchange.sent = b"(an earlier script)"
            while self.left is not None:
                try:
                    line = await self.link.read_line(0.05)
                except TimeoutError:
                    return
                match wire.read(line):
                    case Package() as package:
                        self.left.append(package)
                        if self._news:
                            self.on_package(package)
                    case End() | Error(echo=""):
                        self.left = None

    async def interject(self, command: str) -> None:
        """Sends `Y` or `Z` into a script that is being followed; its follower sees what becomes of it.

        Raises:
            OutcomeUnknown: the link broke.
        """
        self._interjected = True
        try:
            await self.link.write(f"{command}\n".encode())
        except (LinkLost, TimeoutError) as error:
            raise OutcomeUnknown(f"{command} may not have reached the instrument: {error}", sent=command) from error

    async def abort(self) -> None:
        """Ends whatever runs, and finds the thread again: a line end, `Z`, then all up to the empty line.

        Raises:
            Unreachable: the link is down.
            OutcomeUnknown: it does not answer.
        """
        if self._following:
            await self.interject("Z")
            try:
                async with asyncio.timeout(ABORT_LIMIT):
                    async with self.link.exchange(None, reopen=False):
                        pass  # its follower is through
            except TimeoutError as error:
                raise OutcomeUnknown(f"it has not ended {ABORT_LIMIT:g} s after Z", sent="Z") from error
            if not self.lost_thread:
                return
        async with self.link.exchange(ABORT_LIMIT, reopen=False) as exchange:
            running, heard_by = False, 0.0
            while True:
                if not running and clock.monotonic() >= heard_by:
                    await exchange.write(b"\nZ\n")  # again where nothing came of it: it may have been deaf
                    heard_by = clock.monotonic() + HEARD
                try:
                    event = wire.read(await exchange.read_line(None if running else HEARD))
                except TimeoutError:
                    if running:
                        raise
                    continue
                if isinstance(event, Error) and event.echo == "Z":
                    break  # it was idle
                running = running or event == Echo("Z")
                if running and isinstance(event, End):
                    break
            await self._swallow()
            self.link.dirty = self._lost_thread = False
            self.left = None

    async def _swallow(self) -> None:
        """Gives it the time that it needs after an error, and drops what still comes of it."""
        await self.link.drain(AFTER_ERROR)
