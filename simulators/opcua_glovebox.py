"""A glovebox with an antechamber, behind an OPC UA server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncua import ua

from labd import clock
from simulators._kit.host import read_yaml
from simulators._kit.opcua import UaServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.trial import Trial
from simulators.faults.knobs import switch

NAMESPACE = "urn:labd:glovebox"
CLOSED, OPEN, OPENING, CLOSING, PURGING = range(5)
SETPOINT = 3.0  # mbar over the room
PRESSURE_RECOVERY = 20.0  # s
_BOX = "Glovebox"
_CHAMBER = f"{_BOX}/Antechamber"
_UNITS = {"oxygen": "ppm", "water": "ppm", "pressure": "mbar"}
_TYPES = {bool: "Boolean", int: "Int32", float: "Double", str: "String"}


@dataclass
class Names:
    """Where the box tells what, and in what words: of the shipped profile, or read from another profile's file."""

    namespaces: dict[str, str] = field(default_factory=lambda: {"box": NAMESPACE})
    elsewhere: dict[str, str] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)
    words: dict[str, Any] = field(
        default_factory=dict
    )  # closed, open, moving -> what stands in the node; empty: numbers
    commands: dict[str, dict[Any, bool]] = field(default_factory=dict)  # node -> value -> whether it opens

    @classmethod
    def of(cls, profile: str) -> Names:
        """Those of a profile.

        Raises:
            HostError: its file cannot be read. ValueError: a unit that this box does not tell in.
        """
        if profile == "glovebox":
            return cls(commands={f"{_CHAMBER}/Command": {1: True, 2: False}})
        raw = read_yaml(Path(profile))
        names = cls(namespaces=dict(raw.get("namespaces") or {}))
        for gas in _UNITS:
            if raw.get(gas) is not None:
                names._measured(gas, raw[gas], profile)
        if raw.get("alive") is not None and not str(raw["alive"]["node"]).startswith("ns=0;"):
            names.elsewhere[f"{_BOX}/Heartbeat"] = raw["alive"]["node"]
        if raw.get("antechamber") is not None:
            names.elsewhere[f"{_CHAMBER}/State"] = raw["antechamber"]["node"]
            for value, word in (raw["antechamber"].get("words") or {}).items():
                names.words.setdefault(word, value)
        names._ordered("Open", raw.get("open_antechamber") or {})
        names._ordered("Close", raw.get("close_antechamber") or {})
        return names

    def _measured(self, gas: str, measured: Mapping[str, Any], profile: str) -> None:
        if measured.get("unit") != _UNITS[gas]:
            raise ValueError(f"{profile}: {gas}: the simulated box tells it in {_UNITS[gas]}, with a factor at most")
        self.elsewhere[f"{_BOX}/{gas.capitalize()}"] = measured["node"]
        self.factors[gas] = float(measured.get("factor", 1.0))

    def _ordered(self, name: str, order: Mapping[str, Any]) -> None:
        if "call" in order:
            self.elsewhere[f"{_CHAMBER}/{name}"] = order["call"]
        elif "write" in order:
            self.commands.setdefault(order["write"], {})[order.get("value")] = name == "Open"


class Atmosphere:
    """Oxygen, water (ppm) and pressure (mbar over the room) of a box, told from the time.

    Each gas comes in at a constant rate and goes at the catalyst's: it nears `base` with the antechamber closed, and
    far more with it open, both within `tau`.

    Args:
        base: ppm of oxygen and water in a box at rest.
        rise: ppm/s that come in while the antechamber is open to the room.
        tau: s in which purification takes out 63 %.
        door: s that the antechamber's door takes.
        purge: s that the antechamber is evacuated and filled after it was closed.
    """

    def __init__(
        self, *, base: tuple[float, float], rise: tuple[float, float], tau: float, door: float, purge: float
    ) -> None:
        self.oxygen, self.water = base
        self.pressure = SETPOINT
        self.state = CLOSED
        self.inner_open = False
        self.purification = True
        self._base, self._rise, self._tau = base, rise, tau
        self._next: list[tuple[float, int]] = []
        self._lasts = {OPENING: door, CLOSING: door, PURGING: purge}
        self._now = 0.0

    def advance(self, now: float) -> None:
        """Lets the time pass to `now` (s on one clock of the caller's)."""
        while self._next and self._next[0][0] <= now:
            at, state = self._next.pop(0)
            self._flow(at)
            self._enter(state)
        self._flow(now)

    def open(self) -> bool:
        """Opens the antechamber to the room; False when the inner door is open."""
        if self.inner_open:
            return False
        if self.state not in (OPEN, OPENING):
            self._go(OPENING, OPEN)
        return True

    def close(self) -> None:
        """Closes the antechamber, and then purges it."""
        if self.state in (OPEN, OPENING):
            self._go(CLOSING, PURGING, CLOSED)

    def _go(self, first: int, *then: int) -> None:
        self._enter(first)
        at, state = self._now, first
        self._next = []
        for following in then:
            at += self._lasts[state]
            self._next.append((at, following))
            state = following

    def _enter(self, state: int) -> None:
        self.state = state
        if state in (OPENING, PURGING):
            self.pressure -= 1.5  # the door's seal gives; the pump takes some of the box's gas

    def _flow(self, to: float) -> None:
        passed, self._now = max(0.0, to - self._now), max(to, self._now)
        leaks = self.state in (OPENING, OPEN, CLOSING)
        self.oxygen = self._gas(self.oxygen, 0, passed, leaks=leaks)
        self.water = self._gas(self.water, 1, passed, leaks=leaks)
        self.pressure = SETPOINT + (self.pressure - SETPOINT) * math.exp(-passed / PRESSURE_RECOVERY)

    def _gas(self, now: float, which: int, passed: float, *, leaks: bool) -> float:
        source = self._base[which] / self._tau + (self._rise[which] if leaks else 0.0)
        if not self.purification:
            return now + source * passed
        goal = source * self._tau
        return goal + (now - goal) * math.exp(-passed / self._tau)


_TRIAL = Trial(
    name="box",
    settings={"address": "opc.tcp://127.0.0.1:0"},
    acts=(("open_antechamber", {}), ("close_antechamber", {})),
    effect=lambda simulator: {"door": simulator.box.state},
)


class GloveboxSimulator(Simulator):
    """The box `<name>`: variables Oxygen, Water, Pressure, Antechamber/State under `Glovebox`, methods Open and Close.

    A command may also be written to `Antechamber/Command` (1 open, 2 close), as boxes without methods have it. With the
    file of another profile in its settings it has that profile's nodes instead.
    Options: `oxygen`, `water` (ppm at rest), `rise: [oxygen, water]` (ppm/s), `tau`, `door`, `purge` (s), `users`,
    `certificate`, `private_key`, `nodesets`, `seed`, `faults`.

    Faults: those of `UaServer`, and
        door_stuck (bool): the antechamber takes the order and does not move.
        inner_open (bool): the inner door is open, so that the outer one is refused.
        purification_off (bool): what comes in stays.
        noise (ppm, default 0.01): of the sensors.
    """

    trial = _TRIAL

    FAULTS = {"jam": switch("door_stuck"), "guard_open": switch("inner_open")}

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        options = bench.options
        self.box = Atmosphere(
            base=(float(options.get("oxygen", 0.4)), float(options.get("water", 0.6))),
            rise=tuple(map(float, options.get("rise", (0.05, 0.03)))),  # type: ignore[arg-type]
            tau=float(options.get("tau", 600.0)),
            door=float(options.get("door", 4.0)),
            purge=float(options.get("purge", 180.0)),
        )
        self.names = Names.of(str(bench.settings.get("profile", "glovebox")))
        self.server = UaServer(self.names.namespaces, self._advance, options, self.faults, self.names.elsewhere)
        self._shown: Any = CLOSED
        self._rng = bench.random()
        self._ahead = 0.0

    async def start(self) -> dict[str, Any]:
        """Switches the box on; gives `address`.

        Raises:
            OSError: the port is taken.
        """
        self.box.advance(self._now())
        server = self.server
        await server.prepare()
        for name in ("Oxygen", "Water", "Pressure"):
            await server.variable(f"{_BOX}/{name}", 0.0, "Double")
        await server.variable(f"{_BOX}/Heartbeat", 0, "UInt32")
        first = self._in_words(CLOSED)
        await server.variable(f"{_CHAMBER}/State", first, _TYPES[type(first)])
        await server.variable(f"{_CHAMBER}/InnerDoorOpen", value=False, kind="Boolean")
        for node, values in self.names.commands.items():
            kind = type(next(iter(values)))
            await server.variable(node, kind(), _TYPES[kind], writable=True)
        await server.method(f"{_CHAMBER}/Open", self._open)
        await server.method(f"{_CHAMBER}/Close", self._close)
        address = str(self.bench.settings.get("address", "opc.tcp://127.0.0.1:4840"))
        return {"address": await server.start(address)}

    async def stop(self) -> None:
        """Switches the server off."""
        await self.server.stop()

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the box, beside the lab's own time."""
        self._ahead += dt
        self.box.advance(self._now())

    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _advance(self) -> None:
        box, put = self.box, self.server.put
        box.inner_open = bool(self.faults.get("inner_open"))
        box.purification = not self.faults.get("purification_off")
        box.advance(self._now())
        for node, values in self.names.commands.items():
            command = self.server.said(node)
            if command in values and command != type(command)():
                self._order(opening=values[command])
                put(node, type(command)(), live=True)
        noise, factors = float(self.faults.get("noise", 0.01)), self.names.factors
        for gas, value, least in (
            ("oxygen", box.oxygen, 0.0),
            ("water", box.water, 0.0),
            ("pressure", box.pressure, -1e9),
        ):
            told = max(least, value + self._rng.gauss(0, noise)) / factors.get(gas, 1.0)
            put(f"{_BOX}/{gas.capitalize()}", told, live=True)
        put(f"{_BOX}/Heartbeat", int(self._now()) % 2**32)
        put(f"{_CHAMBER}/State", self._in_words(box.state))
        put(f"{_CHAMBER}/InnerDoorOpen", box.inner_open)

    def _in_words(self, state: int) -> Any:
        """What the node says of a state; what a profile has no word for stays as it was."""
        if self.names.words:
            word = {CLOSED: "closed", OPEN: "open"}.get(state, "moving")
            self._shown = self.names.words.get(word, self._shown)
            return self._shown
        return state

    def _order(self, *, opening: bool) -> bool:
        if self.faults.get("door_stuck"):
            return True
        if opening:
            return self.box.open()
        self.box.close()
        return True

    async def _open(self) -> Any:
        return None if self._order(opening=True) else ua.StatusCode(ua.StatusCodes.BadInvalidState)

    async def _close(self) -> Any:
        self._order(opening=False)


SIMULATOR = GloveboxSimulator
