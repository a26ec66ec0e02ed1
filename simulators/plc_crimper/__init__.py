"""A coin-cell crimper behind a PLC, on Modbus TCP or RTU."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from labd import clock
from simulators._kit.modbus import ModbusRtuServer, ModbusTcpServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import host_and_port
from simulators._kit.trial import Trial
from simulators._kit.world import LID, Cell, World
from simulators.faults.knobs import switch
from simulators.plc_crimper.plc import Crimp, Plc
from simulators.plc_crimper.press import Stack, bare_die, cell_stack
from simulators.plc_crimper.registers import Handshake, Relay

PROFILES: dict[str, type[Handshake | Relay]] = {"handshake": Handshake, "relay": Relay}
UNIT = 1
PORT = 502
SPOILT_FROM = 0.5  # kN; a stroke that broke off above it has bent the case
_SOON = 1e-6  # s; timers fire up to one tick of the clock early


def _lay(world: World) -> None:
    world.put("press/nest", Cell(id="c1", parts=["half_cell", LID], electrolyte={"LP57": 40.0}, wetted_at=0.0))


_TRIAL = Trial(
    name="press",
    settings={"address": "modbus://127.0.0.1:0"},
    furnish=_lay,
    acts=(
        ("open", {}),
        ("close", {}),
        ("crimp", {"force": "7.8 kN", "dwell": "2 s"}),
        ("reset", {}),
    ),
    effect=lambda simulator: {"cycles": simulator.plc.cycles},
    age=300.0,  # one that was just switched on proves nothing: a restart would not show
)


class CrimperSimulator(Simulator):
    """The press `<name>` with its nest at the place `<name>/nest`.

    Settings: `address` (`modbus://host:port` for TCP; `serial://path` or a path for RTU), `profile`.
    Options: `force` (kN), `dwell` (s): what the press does before the first recipe, and always with a relay;
    `initialised: false`: asks for `init` after power-up; `heartbeat_limit` (s): the PLC stops what moves when the
    client's heartbeat stands still for so long (default: it does not watch it); `seed`; `faults`.

    Faults, read when they matter; `{cycle: n}` means only the cycle with that number:
        dead: list of coils that do nothing, or {coil: how many of its next commands}.
        busy_never (bool): running, or busy, never rises though the press works.
        busy_stuck (bool): it never falls again.
        reply_lost (int, counts down): writes take effect, their reply is lost.
        reply_delay (s), silent (bool): replies late, or none at all and nothing done.
        swap_words (bool): 32-bit values as ABCD.
        estop (bool): pressed now, until taken away. estop_in_stroke (true | {cycle, after: s}): pressed in mid-stroke.
        guard_open, light_curtain (bool): the guard is open, something is in the light curtain.
        force_offset (kN): its force cell's zero has drifted.
        force_short (fraction | {cycle, fraction}): a bad lever or a thin stack: the stroke ends with less force.
        overload, stroke_time (true | {cycle}): these alarms.

    `world.memory(<name>)["blocked"]["nest"]` tells arms from when until when (lab s since the epoch; None: open end)
    the ram is in the way.
    """

    FAULTS = {
        "busy_stuck": switch("busy_stuck"),
        "busy_never": switch("busy_never"),
        "jam": switch("stroke_time"),
        "offset": switch("force_offset", unit="kN"),
        "leak": switch("force_short", unit="1", default=0.2, make=lambda given, _: 1 - float(given["share"])),
        "overload": switch("overload"),
        "estop": switch("estop"),
        "guard_open": switch("guard_open"),
        "light_curtain": switch("light_curtain"),
        "dead_output": switch(
            "dead", unit="text", times=True, make=lambda given, times: _dead(str(given["output"]), times)
        ),
    }
    BY_HAND = {"serial": "mbpoll -m rtu -a 1 -b 19200 -P none -t 4 -0 -r 0 -c 4 -1 {path}"}
    COUNTERS = {"cycles": lambda simulator: simulator.plc.cycles}
    trial = _TRIAL

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.plc: Plc | None = None
        self._server: ModbusTcpServer | ModbusRtuServer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0  # s that `step` has added
        self._place = f"{self.name}/nest"

    async def start(self) -> dict[str, Any]:
        """Switches the PLC on; gives `address`.

        Raises:
            ValueError: a profile that there is not.
            OSError: the port is taken, or the link cannot be made.
        """
        profile = self.bench.settings.get("profile", "handshake")
        if profile not in PROFILES:
            raise ValueError(f"{self.name}: profile {profile!r} is none of {', '.join(PROFILES)}")
        memory = self.world.memory(self.name)
        memory.setdefault("force", float(self.bench.options.get("force", 7.8)))
        memory.setdefault("dwell", float(self.bench.options.get("dwell", 2.0)))
        memory["initialised"] = bool(self.bench.options.get("initialised", True))
        limit = self.bench.options.get("heartbeat_limit")
        watched = None if limit is None else float(limit)
        plc = Plc(memory, self.faults, self._met, self._crimped, self.bench.random(), watched)
        self.plc = plc
        self._advance()
        unit = PROFILES[profile](plc, self._advance, self._changed)
        address = str(self.bench.settings.get("address", f"modbus://127.0.0.1:{PORT}"))
        scheme, _, rest = address.rpartition("://")
        if scheme == "serial" or (not scheme and "/" in address):
            rtu = ModbusRtuServer(self.bench.directory / Path(rest), unit, UNIT, self.faults)
            self._server = rtu
            path = await rtu.start()
            return {"address": f"serial://{path}" if scheme else path}
        host, port = host_and_port(address, PORT)
        tcp = ModbusTcpServer(unit, UNIT, self.faults)
        self._server = tcp
        return {"address": f"modbus://{host}:{await tcp.start(host, port)}"}

    async def stop(self) -> None:
        """Switches the PLC off: a stroke that runs is lost, its cell stays as it was."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._server is not None:
            await self._server.stop()
            self._server = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the press, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _advance(self) -> None:
        assert self.plc is not None
        self.plc.advance(clock.monotonic() + self._ahead)
        self._tell_blocked()
        self._arm()

    def _changed(self) -> None:
        self._arm()

    def _arm(self) -> None:
        """One timer for what comes next, so that a cell is crimped even when nobody reads."""
        assert self.plc is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.plc.next_due
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due - self._ahead + _SOON, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._advance()

    # ── the world ────────────────────────────────────────────────────────────────────────────────────────────────
    def _stamp(self, at: float) -> float:
        """The press's time as lab seconds since the epoch."""
        return clock.now().timestamp() + at - (clock.monotonic() + self._ahead)

    def _tell_blocked(self) -> None:
        assert self.plc is not None
        blocked = self.plc.blocked()
        told: dict[str, list[float | None]] = {}
        if blocked is not None:
            since, until = blocked
            told["nest"] = [self._stamp(since), None if until is None else self._stamp(until)]
        self.world.memory(self.name)["blocked"] = told

    def _met(self, rng: random.Random) -> Stack:
        item = self.world.item(self._place)
        return bare_die() if item is None else cell_stack(play=rng.gauss(0.35, 0.03))

    def _crimped(self, crimp: Crimp) -> None:
        cell = self.world.cell(self._place)
        if cell is not None and (crimp.whole or crimp.force >= SPOILT_FROM):
            _mark(cell, crimp, self._stamp(crimp.at))
        self.world.save()


def _mark(cell: Cell, crimp: Crimp, at: float) -> None:
    """What a stroke leaves in a cell."""
    if not cell.closed:
        cell.damage.append("crushed")
    elif cell.crimped_at is not None:
        cell.damage.append("crimped twice")
    elif not crimp.whole:
        cell.damage.append("crimp broken off")
    cell.crimp_force = max(crimp.force, cell.crimp_force or 0.0)
    cell.crimp_dwell = crimp.dwell
    cell.crimped_at = cell.crimped_at or at


def _dead(output: str, times: int | None) -> object:
    return [output] if times is None else {output: times}


SIMULATOR = CrimperSimulator
