"""A device's end of a pty, for drivers of text protocols: it says what a test tells it to, and worse."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from pathlib import Path

from labd.io.transcript import Player, Transcript

TRANSCRIPTS = Path(__file__).parent / "transcripts"


class Peer:
    """Hears bytes, and says text now or later."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.port = os.ttyname(self.slave)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.master, lambda: self.hear(os.read(self.master, 4096)))
        self._timers: list[asyncio.TimerHandle] = []

    def hear(self, data: bytes) -> None:
        raise NotImplementedError

    def say(self, text: str, after: float = 0.0) -> None:
        self._timers.append(self._loop.call_later(after, self._write, text.encode("latin-1")))

    def _write(self, data: bytes) -> None:
        if self.master >= 0:
            os.write(self.master, data)

    def hush(self) -> None:
        """Says nothing of what it was about to say."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def unplug(self) -> None:
        self.hush()
        if self.master >= 0:
            self._loop.remove_reader(self.master)
            os.close(self.slave)
            os.close(self.master)
            self.master = -1


class Scripted(Peer):
    """Plays a transcript."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.player = Player(Transcript.read(TRANSCRIPTS / name))

    def hear(self, data: bytes) -> None:
        delay = 0.0
        for entry in self.player.take(data):
            delay += entry.dt
            self.say(entry.data, delay)


class Table(Peer):
    """Answers each command by a table: a text, `(seconds, text)`, or None for silence; lists give one after another."""

    def __init__(self, end: str, answers: dict[str, object], out: str = "\r\n") -> None:
        super().__init__()
        self.answers = answers
        self.heard: list[str] = []
        self._end = end
        self._out = out
        self._rest = ""

    def hear(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data.decode()).split(self._end)
        for line in lines:
            self.heard.append(line)
            self.answer(line)

    def answer(self, line: str) -> None:
        found = self.answers.get(line)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        after, text = found if isinstance(found, tuple) else (0.0, found)
        if text is not None:
            self.say(f"{text}{self._out}", after)
