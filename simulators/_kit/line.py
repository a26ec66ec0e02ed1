"""A line that several simulated devices share: each hears everything, and answers what is for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, ClassVar

from simulators._kit.pty import PtyServer, spoilt
from simulators._kit.simulator import Bench
from simulators._kit.tcp import Client, TextServer, host_and_port
from simulators.faults.wire import current

Listener = Callable[[bytes], None]


class SharedLine:
    """One pty, or one TCP port as a serial server has it, for all simulators of a lab that name its address.

    Faults are each device's own, as a `PtyServer` has them: silent, drop, delay, truncate, garble.
    """

    _all: ClassVar[dict[tuple[int, str], SharedLine]] = {}

    def __init__(self, key: tuple[int, str], end: bytes) -> None:
        self._key = key
        self._end = end
        self._input = b""
        self._timers: set[asyncio.TimerHandle] = set()
        self.listeners: list[Listener] = []
        self.server: PtyServer | TextServer | None = None
        self.found = ""
        self.wire = current.get()  # of the device that lays it; those that come later join it

    @classmethod
    async def join(cls, bench: Bench, listener: Listener, end: bytes) -> SharedLine:
        """The line at the device's `address` (`tcp://host:port`; `serial://path` or a path for a pty), laid if need be.

        Args:
            bench: the device's.
            listener: is called with each message on the line, without its end.
            end: what ends a message.

        Raises:
            OSError: the port is taken.
            PtyError: the link cannot be made.
        """
        address = str(bench.settings.get("address") or f"{bench.name}.pty")
        key = (id(bench.world), bench.name if address.endswith(":0") else address)
        line = cls._all.get(key)
        if line is None:
            line = cls(key, end)
            await line.lay(address, bench.directory)
            cls._all[key] = line
        elif line.wire is not None and (wire := current.get()) is not None:
            wire.joins(line.wire)
        line.listeners.append(listener)
        return line

    async def lay(self, address: str, directory: Path) -> None:
        """Begins to listen."""
        scheme, _, rest = address.rpartition("://")
        if scheme == "tcp":
            self.server = TextServer(self._on_message, end=self._end, out=b"")
            host, port = host_and_port(address, 0)
            self.found = f"tcp://{host}:{await self.server.start(host, port)}"
            return
        path, question, options = rest.partition("?")
        self.server = PtyServer(directory / Path(path), self._receive)
        found = await self.server.start()
        self.found = f"serial://{found}{question}{options}" if scheme else found

    async def leave(self, listener: Listener) -> None:
        """A device is switched off; the last one takes the line up."""
        self.listeners.remove(listener)
        if self.listeners or self.server is None:
            return
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._all.pop(self._key, None)
        await self.server.stop()

    def send(self, data: bytes, faults: MutableMapping[str, Any]) -> None:
        """A device speaks, through its own faults."""
        data = spoilt(data, faults)
        if not data:
            return
        if not faults.get("delay"):
            self._write(data)
            return

        def late() -> None:
            self._timers.discard(timer)
            self._write(data)

        timer = asyncio.get_running_loop().call_later(float(faults["delay"]), late)
        self._timers.add(timer)

    def _write(self, data: bytes) -> None:
        if isinstance(self.server, PtyServer):
            self.server.write(data)
        elif self.server is not None:
            self.server.send(data.decode("latin-1"))

    def _receive(self, data: bytes) -> None:
        *messages, self._input = (self._input + data).split(self._end)
        for message in messages:
            self._hear(message)

    def _on_message(self, client: Client, message: str) -> None:
        del client
        self._hear(message.encode())

    def _hear(self, message: bytes) -> None:
        for listener in list(self.listeners):
            listener(message)
