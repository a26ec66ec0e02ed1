"""Runs one script: time, output, and how it is halted, broken off and aborted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from simulators.methodscript import errors
from simulators.methodscript.errors import ScriptAborted, ScriptFault
from simulators.methodscript.models import TIMING
from simulators.methodscript.parser import Program
from simulators.methodscript.potentiostat import Potentiostat
from simulators.methodscript.values import package


class Machine:
    """The script engine of an instrument.

    Args:
        line: sends a line of output.
        saved: is called when a measurement loop ends: what the world must not forget.
    """

    def __init__(
        self,
        front: Potentiostat,
        line: Callable[[str], None],
        saved: Callable[[], None],
        faults: MutableMapping[str, Any],
    ) -> None:
        self.front = front
        self.faults = faults
        self.saved = saved
        self.loop = asyncio.get_running_loop()
        self._line = line
        self.muted = False
        self.timer = 0.0
        self.parts: list[str] | None = None  # of the package that is open
        self.measuring = False  # a measurement loop runs
        self.skip = False  # `Y`: it is to end
        self.points = 0
        self._aborted = False
        self._finishing = False
        self._halted = False
        self._sleeper: asyncio.Future[None] | None = None

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def run(self, program: Program) -> None:
        """Runs a script to its end, and its `on_finished:`, also after an abort.

        Raises:
            ScriptFault: it stopped; `on_finished:` was not executed.
        """
        program.reset()
        self.muted, self.parts, self.timer, self.points = False, None, self.loop.time(), 0
        self.measuring = self.skip = self._aborted = self._finishing = self._halted = False
        try:
            await program.main.run(self)
        except ScriptAborted:
            self.parts = None
        self._finishing, self._halted = True, False
        await program.finish.run(self)
        self.saved()

    def abort(self) -> None:
        """`Z`: ends the script in order, at its next wait."""
        self._aborted = True
        self._halted = False
        self._wake()

    def end_loop(self) -> None:
        """`Y`: ends the measurement loop, and goes on behind it."""
        if self.measuring:
            self.skip = True
            self._wake()

    def halt(self, *, halted: bool) -> None:
        """`h`, `H`: the script stands still; what is imposed on the cell goes on."""
        self._halted = halted
        self._wake()

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def sleep_until(self, due: float) -> None:
        """Waits until a time of the loop. Raises ScriptAborted."""
        loop = self.loop
        if due <= loop.time():
            await asyncio.sleep(0)
        while (left := due - loop.time()) > 0 or self._halted:
            if self._aborted and not self._finishing:
                raise ScriptAborted
            if self.skip:
                return
            self._sleeper = loop.create_future()
            timer = None if self._halted else loop.call_later(left, self._wake)
            try:
                await self._sleeper
            finally:
                self._sleeper = None
                if timer is not None:
                    timer.cancel()
        if self._aborted and not self._finishing:
            raise ScriptAborted

    # ── output ───────────────────────────────────────────────────────────────────────────────────────────────────
    def line(self, text: str) -> None:
        """A line of the script's output."""
        if not self.muted:
            self._line(text)

    def add(self, kind: str, value: float, status: int, scale: int | None) -> None:
        """A value into the package that is open."""
        assert self.parts is not None
        self.parts.append(package(kind, value, status, scale))

    def end_package(self) -> None:
        """Sends the package that is open."""
        assert self.parts is not None
        text = "P" + ";".join(self.parts)
        self.parts = None
        if self.faults and self.faults.pop("bare_package", None):
            self.line("P")
        self.line(text)

    def measured(self, line: int, late: float, interval: float) -> int:
        """Counts a point; gives the timing bit when it came too late.

        Raises:
            ScriptFault: a fault that was switched on: `critical` and `fatal` (after so many points).
        """
        self.points += 1
        if self.faults:
            for name, code in (("critical", errors.OVERLOAD), ("fatal", errors.FATAL)):
                after = self.faults.get(name)
                if after is not None and after is not False and self.points > int(after):
                    del self.faults[name]
                    raise ScriptFault(code, line)
        return TIMING if late > interval else 0
