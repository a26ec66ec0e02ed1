"""One simulated device as a host has it: its simulator, its wire, and its power."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from simulators._kit.simulator import Simulator
from simulators.faults import tcp
from simulators.faults.wire import Wire, current

_FREE = re.compile(r":0(?!\d)")
"""A port that the system chooses."""


class Machine:
    """One simulated device with its wire and its power.

    Args:
        name: of the device.
        make: makes its simulator, from the settings that it shall listen by.
        settings: what lab.yaml says of them.
        switched_on: is told whenever it has power again.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[Mapping[str, Any]], Simulator],
        settings: Mapping[str, Any],
        switched_on: Callable[[str, Simulator], None],
    ) -> None:
        self.name = name
        self._wire = Wire()
        self.powered = False
        self.address: dict[str, Any] = {}
        self._make = make
        self._settings = settings
        self._switched_on = switched_on
        self._cycle: asyncio.Task[None] | None = None
        self.simulator = make(settings)

    @property
    def wire(self) -> Wire:
        """Its wire; that of another device, where they share a line."""
        return self._wire.real

    async def start(self) -> dict[str, Any]:
        """Switches it on; gives what a driver needs to reach it. Raises OSError, PtyError, ValueError or KeyError."""
        tcp.prepare(asyncio.get_running_loop())
        token = current.set(self.wire)
        try:
            self.address = await self.simulator.start()
        finally:
            current.reset(token)
        self.powered = True
        return self.address

    async def stop(self) -> None:
        """Switches it off for good."""
        if self._cycle is not None:
            self._cycle.cancel()
            await asyncio.gather(self._cycle, return_exceptions=True)
        await self._off()

    async def _off(self) -> None:
        self.powered = False
        self.wire.hang_up()
        await self.simulator.stop()

    def count(self, counter: str) -> int:
        """How far one of its counters is."""
        return self.simulator.COUNTERS[counter](self.simulator)

    def power_cycle(self, off: float) -> None:
        """Takes its power for so many seconds; returns at once. While it is off, nothing more is taken."""
        if self._cycle is None or self._cycle.done():
            self._cycle = asyncio.create_task(self._off_and_on(off), name=f"power of {self.name}")
            self._cycle.add_done_callback(self._cycled)

    def _cycled(self, cycle: asyncio.Task[None]) -> None:
        if not cycle.cancelled() and (error := cycle.exception()) is not None:
            message = f"simulator {self.name} does not come on again"
            cycle.get_loop().call_exception_handler({"message": message, "exception": error, "task": cycle})

    def _found(self) -> dict[str, Any]:
        """Where it listens, where lab.yaml leaves that to the system."""
        said = [str(self._settings[key]) for key in ("address", "port") if self._settings.get(key)]
        return {} if said and not any(_FREE.search(one) for one in said) else self.address

    async def _off_and_on(self, off: float) -> None:
        await self._off()
        await asyncio.sleep(off)
        switches = self.simulator.faults
        # Like a process that is started again: it keeps what the world remembers of it, and where it listens.
        self.simulator = self._make({**self._settings, **self._found()})
        self.simulator.faults.clear()
        self.simulator.faults.update(switches)
        await self.start()
        self._switched_on(self.name, self.simulator)
