"""A balance, whatever it speaks: what stands on its pan, its zero and its tare, and orders that wait for rest."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from labd import clock
from simulators._kit.matter import density, mass_at
from simulators._kit.pan import Pan
from simulators._kit.pty import PtyServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import Client, TextServer, host_and_port
from simulators._kit.world import World
from simulators.faults.knobs import switch

LEAST = -1.0  # g below zero: the pan is off
LOOK = 0.1  # s between two looks whether the pan is at rest, while an order waits for it

Reply = Callable[[str], None]


@dataclass(frozen=True)
class Waiting:
    """An order that waits for rest, until its own time is over."""

    command: str
    reply: Reply
    until: float


class BalanceSimulator(Simulator):
    """The balance `<name>`, switched on with an empty pan.

    It weighs all cells, parts and liquids at the place `pan` (default `<name>/pan`) and in the wells of it, by the
    densities in `simulators._kit.matter`; racks and empty vials on it are part of the dead load.

    Settings: `address` (`tcp://host:port`; `serial://path` or a path for a pty), `pan`.
    Options: `capacity` (g), `readability` (g), `repeatability` (g), `timeout` (s that an order waits for rest),
    `evaporation` (mg/h that the liquids on it lose, together), `seed`, `faults`.

    Faults, besides those of the line (see `PtyServer`, `TextServer`; `silent` and `delay` of both):
        unstable (bool): a draught: the pan never comes to rest.
        drift (g/h): the reading creeps, and calls itself stable.
        overload, underload (bool): out of range whatever stands on it.
    """

    FAULTS = {
        "drift": switch("drift", unit="g/h"),
        "unstable": switch("unstable"),
        "overload": switch("overload"),
        "underload": switch("underload"),
    }
    end: ClassVar[bytes] = b"\r\n"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        options = bench.options
        self.capacity = float(options.get("capacity", 220.0))
        readability = float(options.get("readability", 1e-4))
        self.decimals = len(f"{readability:.10f}".rstrip("0").partition(".")[2])
        self.timeout = float(options.get("timeout", 40.0))
        self.pan_place = str(bench.settings.get("pan") or f"{self.name}/pan")
        self.pan = Pan(
            bench.random(),
            self.faults,
            readability=readability,
            repeatability=float(options.get("repeatability", 1e-4)),
        )
        self.waiting: Waiting | None = None
        self._evaporation = float(options.get("evaporation", 0.0)) / 3.6e6  # g/s
        self._looked_at = 0.0
        self._pty: PtyServer | None = None
        self._tcp: TextServer | None = None
        self._input = b""
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0
        self._forget: Callable[[], None] = lambda: None

    # ── what it speaks ───────────────────────────────────────────────────────────────────────────────────────────
    @abstractmethod
    def command(self, line: str, reply: Reply) -> None:
        """Carries out one line."""

    @abstractmethod
    def carry_out(self, command: str) -> str:
        """Carries out what has waited, at rest or because its time is over or it is out of range; the answer."""

    @abstractmethod
    def printed(self) -> str:
        """What its print key sends."""

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Switches the balance on; gives `address`.

        Raises:
            OSError: the port is taken.
            PtyError: the link cannot be made.
        """
        for key in ("zero", "tare"):
            self.world.memory(self.name).setdefault(key, 0.0)
        self._looked_at = self.now()
        self.pan.start(mass_at(self.world, self.pan_place), self.now())
        self._forget = self.world.on_change(self._felt)
        address = str(self.bench.settings.get("address") or f"{self.name}.pty")
        scheme, _, rest = address.rpartition("://")
        if scheme == "tcp":
            self._tcp = TextServer(self._on_message, end=self.end, faults=self.faults)
            host, port = host_and_port(address, 0)
            return {"address": f"tcp://{host}:{await self._tcp.start(host, port)}"}
        path, question, options = rest.partition("?")
        self._pty = PtyServer(self.bench.directory / Path(path), self._receive, self.faults)
        found = await self._pty.start()
        return {"address": f"serial://{found}{question}{options}" if scheme else found}

    async def stop(self) -> None:
        """Switches it off: what waited is lost."""
        self._forget()
        self._forget = lambda: None
        self.cancel()
        if self._tcp is not None:
            await self._tcp.stop()
            self._tcp = None
        if self._pty is not None:
            await self._pty.stop()
            self._pty = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the pan, beside the lab's own time."""
        self._ahead += dt
        self._look()

    def press_print(self) -> None:
        """Somebody presses the print key: a weight that nobody asked for."""
        self.advance()
        self.send(self.printed())

    # ── physics ──────────────────────────────────────────────────────────────────────────────────────────────────
    def now(self) -> float:
        """Seconds on the pan's clock."""
        return clock.monotonic() + self._ahead

    def advance(self) -> None:
        """Lets the pan come to the present."""
        now = self.now()
        if self._evaporation and evaporate(self.world, self.pan_place, self._evaporation * (now - self._looked_at)):
            self.pan.ease(mass_at(self.world, self.pan_place))
        self._looked_at = now
        self.pan.advance(now)

    def _felt(self) -> None:
        self.advance()
        self.pan.put(mass_at(self.world, self.pan_place))

    @property
    def memory(self) -> dict[str, Any]:
        """Its `zero` and `tare`, g."""
        return self.world.memory(self.name)

    def gross(self) -> float:
        """What it reads now, zeroed and not tared, g."""
        return self.pan.read() - float(self.memory["zero"])

    def out_of_range(self, gross: float) -> str | None:
        """`+` or `-`, or None."""
        if self.faults.get("overload") or gross > self.capacity:
            return "+"
        return "-" if self.faults.get("underload") or gross < LEAST else None

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _receive(self, data: bytes) -> None:
        *lines, self._input = (self._input + data).split(self.end)
        for line in lines:
            self.command(line.decode("latin-1"), self.send)

    def _on_message(self, client: Client, message: str) -> None:
        self.command(message, client.send)

    def send(self, text: str) -> None:
        """Sends a line to whoever listens."""
        if self._pty is not None:
            self._pty.write(text.encode() + self.end)
        elif self._tcp is not None:
            self._tcp.send(text)

    # ── orders that wait for rest ────────────────────────────────────────────────────────────────────────────────
    def wait(self, command: str, reply: Reply) -> None:
        """Has an order carried out at rest, or when its time is over."""
        self.waiting = Waiting(command, reply, self.now() + self.timeout)
        self._look()

    def cancel(self) -> None:
        """Takes back what waits."""
        self.waiting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Carries out what waits, once the pan is at rest; looks again soon where it is not."""
        self.advance()
        waiting = self.waiting
        if waiting is None:
            return
        done = self.now() >= waiting.until or self.pan.at_rest or self.out_of_range(self.gross()) is not None
        self.cancel()
        if done:
            waiting.reply(self.carry_out(waiting.command))
            return
        self.waiting = waiting
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)


def evaporate(world: World, place: str, grams: float) -> bool:
    """Takes so much out of the open liquids at a place and in its wells, of each its share; whether there were any.

    Nobody is told: what is lost in a minute moves no pan.
    """
    inside = f"{place}/"
    wells = [well for at, well in world.wells() if (at == place or at.startswith(inside)) and well.volume > 0]
    for well in wells:
        well.draw(min(well.volume, grams / len(wells) / density(well.material) * 1e3))
    return bool(wells)
