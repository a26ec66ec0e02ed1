"""Links that go wrong under all six drivers: is a stale, crossed or damaged answer believed, is anything done twice?

A lab with a device of each driver makes cells and measures, with a proxy on every wire (`benchmarks.faults.wires`).
Two kinds of rounds:

- `order`: answers late, lost, doubled, cut short by a broken connection, ports unplugged. No byte is altered, so
  nothing may ever be believed that was not so at the time.
- `bytes`: the serial lines also drop, flip, invent and cut bytes; the press is on a serial line, Modbus RTU with its
  check sum. There and on TCP nothing damaged may be believed. Balance, thermostat and potentiostat speak ASCII without
  a check sum: a digit that became another digit cannot be told by anybody. Such readings have a line of their own,
  `believed_though_damaged`, which counts only those whose own bytes were damaged (`benchmarks.faults.ascii`).

At last the same on drivers that are careless (`benchmarks.faults.careless`), for each kind of wire: each must be
caught, or the whole is worth nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._figures import Figures
from benchmarks.faults import sized
from benchmarks.faults.ascii import WITNESSES, StatWitness
from benchmarks.faults.careless import CARELESS, careless
from benchmarks.faults.lab import WELLS, FaultLab, fault_lab
from benchmarks.faults.lost import Tally, play
from benchmarks.faults.wires import BYTE_KINDS, ORDER_KINDS, TCP_KINDS, Mischief, PtyWire, TcpWire
from benchmarks.faults.witness import Verdicts, Witness
from labd import clock
from labd.lab.bus import Happening, RunState
from labd.run.lifecycle import Command

RATES = {"ot2": 0.05, "arm": 0.05, "press": 0.01, "balance": 0.06, "bath": 0.05, "stat": 0.04}
"""Share of messages at fault, by device: few enough that the work goes on."""

CARELESS_RATE = 0.15  # share of the messages of a careless driver that are at fault
CARELESS_KINDS = ("late", "twice")
CARELESS_SPAN = 400.0  # s of lab time in which it is looked at each second
CARELESS_ROUNDS = 8  # at most, until it is caught
SHAKE = (2.0, 30.0)  # s between two loads of the balance
MEASURE = """\
labd: 1
protocol: measure
version: 1.0.0
summary: One action of each measuring device.
roles: {balance: balance, bath: thermostat, stat: potentiostat}
parameters:
  setpoint: {type: quantity, min: 10 degC, max: 60 degC}
start: warm
states:
  warm:
    do: bath.set_temperature
    with: {temperature: =setpoint}
    next: weigh
  weigh:
    steps:
      - {do: balance.weigh, with: {settle: 3 s}}
      - {do: balance.tare}
      - {do: balance.weigh, with: {settle: 0 s}}
    next: rest
  rest:
    do: stat.open_circuit
    with: {duration: 20 s, interval: 1 s}
    next: done
  done: {end: complete}
"""


def measuring() -> dict[str, Any]:
    """The devices of lab.yaml beside robot, arm and press."""
    poll = {"idle": "10 s", "busy": "5 s"}
    return {
        "balance": {"driver": "mt_sics", "settings": {"address": "balance.pty"}, "poll": dict(poll), "simulator": {}},
        "bath": {"driver": "julabo", "settings": {"address": "bath.pty"}, "poll": dict(poll), "simulator": {}},
        "stat": {
            "driver": "methodscript",
            "settings": {"port": "stat.pty", "model": "emstat4_hr"},
            "poll": dict(poll),
            "simulator": {},
        },
    }


@dataclass(slots=True)
class Found:
    """What was found out in the rounds of one kind."""

    faults: Counter[str] = field(default_factory=Counter)
    by_device: Counter[str] = field(default_factory=Counter)
    verdicts: Verdicts = field(default_factory=lambda: Verdicts(told=[]))
    tally: Tally = field(default_factory=Tally)
    measured: int = 0
    measured_whole: int = 0
    techniques_twice: int = 0

    def tell(self, figures: Figures, name: str) -> None:
        verdicts, tally = self.verdicts, self.tally
        figures.add(f"{name}.faults", self.faults.total(), "faults")
        for device, count in sorted(self.by_device.items()):
            figures.add(f"{name}.faults_on_{device}", count, "faults")
        figures.add(f"{name}.readings", verdicts.readings, "readings")
        figures.add(f"{name}.results", verdicts.results, "results")
        figures.add(f"{name}.believed_wrongly", verdicts.wrong, "values", goal=0, better="lower")
        if name.endswith("bytes"):
            figures.add(f"{name}.believed_though_damaged", verdicts.damaged, "readings")
        figures.add(f"{name}.cells", tally.rounds, "runs")
        figures.add(f"{name}.done_twice", tally.done_twice + self.techniques_twice, "effects", goal=0, better="lower")
        figures.add(f"{name}.left_open", tally.left_open, "actions", goal=0, better="lower")
        figures.add(f"{name}.world_differs", tally.differ, "cells", goal=0, better="lower")
        figures.add(f"{name}.asked_a_person", tally.asked, "questions")
        figures.add(f"{name}.measuring_runs", self.measured, "runs")
        figures.add(f"{name}.measuring_complete", self.measured_whole, "runs")
        for line in (verdicts.told or [])[:20] + tally.told[:20]:
            print(f"# {name}: {line}", file=sys.stderr)


class Round:
    """One lab behind wires that go wrong.

    Args:
        directory: an empty folder.
        seed: of all that is random.
        damaging: whether bytes are altered too.
        cells: that are made in it.
        found: where what is found goes.
        serial: whether the press is on a serial line, else on TCP.
        rates: share of messages at fault, by device.
        kinds: what may happen, and to answers only, where not all that the wire may do.
    """

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        damaging: bool,
        cells: int,
        found: Found,
        serial: bool | None = None,
        rates: Mapping[str, float] = RATES,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        self._kinds = kinds
        self._directory = directory
        self._cells = cells
        self._seed = seed
        self._damaging = damaging
        self._serial = damaging if serial is None else serial
        self._rates = rates
        self._found = found
        self._rng = random.Random(f"links/{seed}/{damaging}")
        self._mischiefs: dict[str, Mischief] = {}
        self._witnesses: dict[str, Witness] = {}
        self._wires: list[TcpWire | PtyWire] = []

    async def live(self) -> None:
        """Cells are made, and meanwhile it is measured over and over; then all is counted."""
        async with self._laid() as lab:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._shake(lab)), group.create_task(self._measure(lab))]
                await play(lab, [None] * self._cells)
                for task in beside:
                    task.cancel()
            for mischief in self._mischiefs.values():
                mischief.on = False
            await self._count(lab)

    async def polled(self, device: str, span: float) -> None:
        """Nothing is made; a device is looked at each second, for so many seconds."""
        async with self._laid(device) as lab, asyncio.TaskGroup() as group:
            shaking = group.create_task(self._shake(lab))
            await asyncio.sleep(span)
            shaking.cancel()

    @contextlib.asynccontextmanager
    async def _laid(self, *often: str) -> AsyncIterator[FaultLab]:
        """The lab, with a witness on each wire."""
        more = measuring()
        if self._serial:
            settings = {"address": "serial://press.pty", "profile": "handshake"}
            slow = {"idle": "60 s", "busy": "20 s"}
            more["press"] = {"driver": "plc_crimper", "settings": settings, "poll": slow, "simulator": {}}
        try:
            async with fault_lab(self._directory, self._seed, more=more, often=often, between=self._between) as lab:
                for name, device in lab.daemon.lab.devices.items():
                    self._witnesses[name].simulator = lab.simulators[name]
                    self._witnesses[name].attend(device)
                    self._mischiefs[name].on = True
                yield lab
        finally:
            for wire in self._wires:
                stopping = wire.stop()
                if stopping is not None:
                    await stopping

    async def _between(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Lays the wire to a device."""
        key, address = next(iter(settings.items()))
        scheme, _, rest = str(address).rpartition("://")
        serial = "/" in rest
        kinds = (*ORDER_KINDS, *(BYTE_KINDS * 2 if self._damaging else ())) if serial else TCP_KINDS
        rng = random.Random(f"{self._seed}/{self._damaging}/{name}")
        mischief = self._mischiefs[name] = Mischief(
            rng, self._kinds or kinds, self._rates[name], on=False, up=self._kinds is None
        )
        witness = self._witnesses[name] = WITNESSES[name](None, self._found.verdicts)
        if serial:
            link = self._directory / f"{name}.wire"
            pty = PtyWire(link, rest, mischief, witness.ear, parity=name == "bath")
            self._wires.append(pty)
            path = pty.start()
            return {key: f"{scheme}://{path}" if scheme else path}
        host, _, port = rest.partition(":")
        tcp = TcpWire(host, int(port), mischief, witness.ear)
        self._wires.append(tcp)
        return {key: f"{scheme}://127.0.0.1:{await tcp.start()}" if scheme else f"127.0.0.1:{await tcp.start()}"}

    async def _shake(self, lab: FaultLab) -> None:
        """Loads the balance anew; what the others have to tell is changed at each look, by their witnesses."""
        balance = lab.simulators["balance"]
        while True:
            await asyncio.sleep(self._rng.uniform(*SHAKE))
            balance.pan.put(self._rng.uniform(1.0, 150.0))  # type: ignore[attr-defined]

    async def _measure(self, lab: FaultLab) -> None:
        engine, held = lab.daemon.engine, asyncio.Event()

        def hear(happening: Happening) -> None:
            if isinstance(happening, RunState) and happening.protocol == "measure" and happening.state == "Held":
                held.set()

        forget = lab.daemon.lab.bus.subscribe(hear)
        try:
            while True:
                given = {"setpoint": f"{self._rng.uniform(11, 59):.2f} degC"}
                run = await engine.start(
                    MEASURE, "measure.yaml", given, sample="probe", position=f"ot2/3/{WELLS[-1]}", by="faults"
                )
                ended = asyncio.create_task(engine.wait(run.id))
                try:
                    while not ended.done():
                        held.clear()
                        hold = asyncio.create_task(held.wait())
                        await asyncio.wait({ended, hold}, return_when=asyncio.FIRST_COMPLETED)
                        hold.cancel()
                        if not ended.done():
                            await self._settle(lab, run.id)
                finally:
                    ended.cancel()
                self._found.measured += 1
                self._found.measured_whole += (await engine.state(run.id)).outcome == "complete"
        finally:
            forget()

    @staticmethod
    async def _settle(lab: FaultLab, run: str) -> None:
        """A measuring run that is held: nobody needs its sample."""
        engine = lab.daemon.engine
        state = await engine.state(run)
        with contextlib.suppress(Exception):
            if state.question is not None:
                await engine.answer(run, "scrap", by="operator")
            elif state.state == "Held":
                await engine.command(run, Command.STOP, by="operator")

    async def _count(self, lab: FaultLab) -> None:
        found = self._found
        await found.tally.add(lab)
        for name, mischief in self._mischiefs.items():
            found.faults.update(mischief.done)
            found.by_device[name] += mischief.total
        stat = self._witnesses["stat"]
        assert isinstance(stat, StatWitness)
        found.techniques_twice += max(0, stat.scripts - await _ordered(lab))


async def _ordered(lab: FaultLab) -> int:
    """Techniques that may have been begun: all that were ordered, less those that were told not to have been."""
    events = await lab.events("action.intended", "action.failed", "action.reconciled")
    mine = {e.data["action_id"] for e in events if e.kind == "action.intended" and e.data["action"] == "open_circuit"}
    never = {
        e.data["action_id"]
        for e in events
        if (e.kind == "action.failed" and e.data["error"] in ("unreachable", "rejected"))
        or (e.kind == "action.reconciled" and e.data["verdict"] == "not_done")
    }
    return len(mine - never)


def run(smoke: bool, figures: Figures, *, long: bool = False) -> None:
    cells, wanted = sized(smoke, long, (1, 2, 6)), sized(smoke, long, (200, 400, 5000))
    for name, damaging in (("order", False), ("bytes", True)):
        found, seed = Found(), 0
        while found.faults.total() < wanted:
            live(seed, damaging=damaging, cells=cells, found=found)
            seed += 1
        found.tell(figures, f"links_{name}")
    for device in CARELESS:
        figures.add(f"links_careless_{device}.believed_wrongly", caught(device), "values", goal=1)


def caught(device: str) -> int:
    """How many wrong values of a careless driver were told, in rounds until there is one."""
    rates = {name: CARELESS_RATE if name == device else 0.0 for name in RATES}
    found = Found()
    with careless(device):
        for seed in range(CARELESS_ROUNDS):
            if not found.verdicts.by_device[device]:
                with tempfile.TemporaryDirectory() as directory:
                    bad = Round(
                        Path(directory),
                        seed,
                        damaging=False,
                        cells=0,
                        found=found,
                        serial=True,
                        rates=rates,
                        kinds=CARELESS_KINDS,
                    )
                    clock.run(bad.polled(device, CARELESS_SPAN), clock.timeline_of("virtual"))
    return found.verdicts.by_device[device]


def live(seed: int, *, damaging: bool, cells: int, found: Found) -> None:
    """One round on virtual time."""
    with tempfile.TemporaryDirectory() as directory:
        living = Round(Path(directory), seed, damaging=damaging, cells=cells, found=found).live()
        clock.run(living, clock.timeline_of("virtual"))
