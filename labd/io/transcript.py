r"""Transcripts: what went over a link, written down, and played again.

A transcript is a file of JSON lines. The first says where it comes from:
`{"device": "EmStat Pico", "source": "…", "version": "…"}`, and what a driver was told meanwhile (see `Origin`); each
further one is `{"dir": "out", "data": "t\n"}` (sent
to the device), `{"dir": "in", "data": "…", "dt": 0.02}` (came from it, so many seconds after the line before) or
`{"dir": "cut"}` (the device closed the link). Data is text in which each character is one byte.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from labd import clock
from labd.io.stream import StreamLink, Writer
from labd.io.tap import Direction, Kind


class Origin(BaseModel):
    """Where a transcript comes from, and how it is played again.

    Args:
        device: what spoke.
        source: who recorded it, on what; or the manual by which it was written.
        version: of the firmware, or of the manual.
        recorded: whether it is what a device, or its vendor's own software, really said; else it was written by hand.
        link: what an entry is: bytes of a stream (also of VISA), `METHOD path body` of HTTP, a Modbus PDU as
            hexadecimal digits, or of OPC UA `{"read": [node, …]}`, `{"write": [node, value, type]}`, `{"call": [method,
            arguments]}`, and as the answer `[{"value": …, "status": …, "source": time, "server": time}, …]`, `[…]` of
            what a method returned, or `{"error": …}`. What is of OPC UA is for reading, and is not played again.
        settings: of the driver in lab.yaml, beside its address.
        options: of the simulator.
        positions: taught ones, name -> pose.
        beforehand: requests that bring a device that was just switched on to where the transcript begins.
        calls: what the driver was told meanwhile: `["connect"]`, `["read_state"]`, `["weigh", {"settle": "5 s"}]`; and
            the kind of error where one came of it: `["tare", {}, "rejected"]`. Without any a test of its own plays it.
        unasked: how lines begin that a device says when it likes, and not as an answer.
        own_words: requests whose answer is another on each device: its name, its serial number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    source: str
    version: str = ""
    recorded: bool = False
    link: Kind = "stream"
    settings: dict[str, JsonValue] = {}
    options: dict[str, JsonValue] = {}
    positions: dict[str, tuple[float, float, float, float, float, float]] = {}
    beforehand: tuple[str, ...] = ()
    calls: tuple[tuple[str] | tuple[str, dict[str, JsonValue]] | tuple[str, dict[str, JsonValue], str], ...] = ()
    unasked: tuple[str, ...] = ()
    own_words: tuple[str, ...] = ()


class Entry(BaseModel):
    """One thing that happened; `dt` is in s since the one before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dir: Literal["out", "in", "cut"]
    data: str = ""
    dt: float = 0.0

    @property
    def raw(self) -> bytes:
        return self.data.encode("latin-1")


class Transcript(BaseModel):
    """A transcript as read from its file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: Origin
    entries: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> Transcript:
        """Reads a file.

        Raises:
            ValueError: a line is none of the kinds; names file and line.
        """
        lines = [(number, line) for number, line in enumerate(path.read_text().splitlines(), 1) if line.strip()]
        parsed: list[BaseModel] = []
        for number, line in lines:
            try:
                parsed.append((Entry if parsed else Origin).model_validate_json(line))
            except ValidationError as error:
                problem = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
                raise ValueError(f"{path}:{number}: {problem}") from error
        if not parsed:
            raise ValueError(f"{path}:1: empty; the first line says where it comes from")
        return cls.model_validate({"origin": parsed[0], "entries": parsed[1:]})


class Mismatch(ValueError):
    """Something else was sent than the transcript holds."""


class Player:
    """The device's side of a transcript, without I/O: takes what is sent, gives what is to come.

    Args:
        transcript: what is played.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._entries = transcript.entries
        self._next = 0
        self._pending = b""

    @property
    def rest(self) -> tuple[Entry, ...]:
        """What has not happened yet."""
        return self._entries[self._next :]

    def start(self) -> list[Entry]:
        """What the device says unasked."""
        return self._answers()

    def take(self, data: bytes) -> list[Entry]:
        """Takes what was sent, in pieces of any size, and gives what the device does upon it.

        Raises:
            Mismatch: the transcript holds something else at this place.
        """
        self._pending += data
        answers: list[Entry] = []
        while self._pending:
            if not self.rest:
                raise Mismatch(f"the transcript is at its end, but {self._pending!r} was sent")
            wanted = self.rest[0].raw
            size = min(len(wanted), len(self._pending))
            if self._pending[:size] != wanted[:size]:
                raise Mismatch(f"entry {self._next + 1}: {wanted!r} was to be sent, {self._pending!r} was")
            if len(self._pending) < len(wanted):
                break
            self._pending = self._pending[size:]
            self._next += 1
            answers += self._answers()
        return answers

    def _answers(self) -> list[Entry]:
        first = self._next
        while self.rest and self.rest[0].dir != "out":
            self._next += 1
        return list(self._entries[first : self._next])


class Recorder:
    """Writes down what goes over a link: `with Recorder(link, path, origin): …`. One line an exchange, at once.

    Args:
        link: whose traffic it is.
        path: the file; written anew.
        origin: what stands in its first line.
    """

    def __init__(self, link: StreamLink, path: Path, origin: Origin) -> None:
        self._link = link
        self._path = path
        self._origin = origin
        self._last: float | None = None

    def __enter__(self) -> Self:
        self._path.write_text(self._origin.model_dump_json() + "\n")
        self._link.tap = self._write
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._link.tap = None

    def _write(self, direction: Direction, data: bytes) -> None:
        now = clock.monotonic()
        dt = 0.0 if self._last is None else now - self._last
        self._last = now
        entry = Entry(dir=direction, data=data.decode("latin-1"), dt=round(dt, 6))
        with self._path.open("a") as file:
            file.write(entry.model_dump_json() + "\n")


class ReplayLink(StreamLink):
    """A link whose other end is a transcript. Sending anything else than what it holds raises Mismatch.

    Args:
        transcript: what is played; opening the link again goes on where it was.
        late: s; see StreamLink.
    """

    def __init__(self, transcript: Transcript, *, late: float = 0.5) -> None:
        super().__init__(f"transcript of {transcript.origin.device}", late=late)
        self.player = Player(transcript)

    async def _connect(self) -> tuple[asyncio.StreamReader, Writer]:
        reader = asyncio.StreamReader(limit=self._limit)
        writer = _ReplayWriter(self.player, reader)
        writer.play(self.player.start())
        return reader, writer

    def _abort(self, writer: Writer) -> None:
        assert isinstance(writer, _ReplayWriter)
        writer.close()


class _ReplayWriter:
    def __init__(self, player: Player, reader: asyncio.StreamReader) -> None:
        self._player = player
        self._reader = reader
        self._timers: list[asyncio.TimerHandle] = []
        self._closed = False

    def write(self, data: bytes) -> None:
        self.play(self._player.take(data))

    def play(self, entries: list[Entry]) -> None:
        loop = asyncio.get_running_loop()
        delay = 0.0
        for entry in entries:
            delay += entry.dt
            self._timers.append(loop.call_later(delay, self._happen, entry))

    def _happen(self, entry: Entry) -> None:
        if entry.dir == "cut":
            self._reader.feed_eof()
        else:
            self._reader.feed_data(entry.raw)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._reader.feed_eof()  # whoever still reads learns that the link is gone

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)
