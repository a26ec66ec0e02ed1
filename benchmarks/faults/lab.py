"""The lab that faults are tried on: robot, arm and press at work on eight cells, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.resources
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from labd.daemon import Daemon
from labd.journal import Event
from labd.lab.config import load_lab
from labd.run.run import Run
from simulators._kit.host import SimulatorHost
from simulators._kit.simulator import Simulator
from simulators._kit.world import LID, Cell, World

WELLS = tuple(f"{'AB'[number % 2]}{number // 2 + 1}" for number in range(8))
DOSE = 35.0  # µL
FORCE = 7.8  # kN

PROTOCOL = f"""\
labd: 1
protocol: short_cell
version: 1.0.0
summary: Dose, close, carry and crimp one cell, and bring it to its place.
parameters:
  lid: {{type: position}}
  store_at: {{type: position}}
roles: {{robot: pipetting_robot, arm: arm, press: crimper}}
start: dose
states:
  dose:
    do: robot.transfer
    with: {{source: LP57, destination: =sample.position, volume: {DOSE:g} µL}}
    next: close
  close:
    steps:
      - do: robot.home
      - do: arm.home
      - if: not arm.gripped
        then:
          - {{do: arm.pick, with: {{place: =lid}}}}
      - {{do: arm.place, with: {{place: =sample.position}}, as: put}}
    max_visits: {{times: 8, otherwise: lost}}
    next:
      - {{if: not put.released, go: close}}
      - {{go: to_press}}
  to_press:
    steps:
      - do: robot.home
      - do: press.open
      - do: arm.home
      - if: sample.position != arm.place
        then:
          - {{do: arm.pick, with: {{place: =sample.position}}}}
      - {{do: arm.place, with: {{place: =press.place}}, as: put}}
    max_visits: {{times: 8, otherwise: lost}}
    next:
      - {{if: not put.released, go: to_press}}
      - {{go: crimp}}
  crimp:
    do: press.crimp
    with: {{force: {FORCE:g} kN, dwell: 2 s}}
    next: store
  store:
    steps:
      - do: press.open
      - do: arm.home
      - if: sample.position != arm.place
        then:
          - {{do: arm.pick, with: {{place: =sample.position}}}}
      - {{do: arm.place, with: {{place: =store_at}}, as: put}}
    max_visits: {{times: 8, otherwise: lost}}
    next:
      - {{if: not put.released, go: store}}
      - {{go: done}}
  done: {{end: complete}}
  lost: {{end: scrapped}}
"""

ACTS = (
    *(("ot2", "transfer", 1),),
    *((("arm", action, time)) for time in (1, 2, 3) for action in ("pick", "place")),
    *(("press", "crimp", 1),),
)
"""What the protocol does once and only once: device's role, action, and the how many-eth of its kind."""


def lab_of(directory: Path, seed: int, profile: str = "handshake") -> dict[str, Any]:
    """lab.yaml as a mapping, with the taught positions beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    positions = importlib.resources.files("labd.demo").joinpath("arm.yaml").read_text(encoding="utf-8")
    (directory / "arm.yaml").write_text(positions, encoding="utf-8")
    slow = {"idle": "60 s", "busy": "20 s"}
    return {
        "labd": 1,
        "lab": "faults",
        "store": "store",
        "seed": seed,
        "clock": "virtual",
        "devices": {
            "ot2": {
                "driver": "opentrons",
                "settings": {"address": "http://127.0.0.1:0", "pipettes": {"right": "p300_single_gen2"}},
                "poll": dict(slow),
                "simulator": {"failed_cells": 0},  # what fails here is put there on purpose
            },
            "arm": {
                "driver": "meca500",
                "settings": {"address": "127.0.0.1:0"},
                "positions": "arm.yaml",
                "poll": dict(slow),
                "simulator": {},
            },
            "press": {
                "driver": "plc_crimper",
                "settings": {"address": "modbus://127.0.0.1:0", "profile": profile},
                "poll": dict(slow),
                "simulator": {},
            },
        },
        "deck": [
            {"place": "ot2/4", "labware": "opentrons_96_tiprack_300ul"},
            {
                "place": "ot2/2",
                "labware": "vials_8x20ml",
                "contents": {"A1": {"material": "LP57", "volume": "12 mL", "dead": "1 mL"}},
            },
            {"place": "ot2/3", "labware": "cell_tray_8", "fill": "half_cell"},
            {"place": "tray/lids", "labware": "lid_tray_8", "fill": LID},
            {"place": "tray/cells", "labware": "cell_tray_8"},
        ],
    }


@dataclass(slots=True)
class FaultLab:
    """A lab at work, and the truth about it.

    Args:
        daemon: with the real engine, drivers and journal.
        simulators: by device; `faults` of each are its switches.
        world: what really happened.
    """

    daemon: Daemon
    simulators: dict[str, Simulator]
    world: World
    runs: list[Run] = field(default_factory=list)

    async def start(self, number: int) -> Run:
        """Starts the run of one cell, counted from 0."""
        well = WELLS[number]
        parameters = {"lid": f"tray/lids/{well}", "store_at": f"tray/cells/{well}"}
        position = f"ot2/3/{well}"
        run = await self.daemon.engine.start(
            PROTOCOL, "short_cell.yaml", parameters, sample=f"cell-{number + 1}", position=position, by="faults"
        )
        self.runs.append(run)
        return run

    async def events(self, *kinds: str, run: str | None = None) -> list[Event]:
        return await self.daemon.journal.events(run=run, kinds=kinds or None)

    async def switch_off(self, device: str) -> None:
        """Takes a device's power."""
        await self.simulators[device].stop()

    async def switch_on(self, device: str) -> None:
        """Gives it back; the device comes up where it was before."""
        await self.simulators[device].start()

    # ── the truth ────────────────────────────────────────────────────────────────────────────────────────────────
    def cell_of(self, run: Run) -> tuple[str, Cell]:
        """Where a run's cell really is, and the cell."""
        wanted = f"cell:{run.home}"
        return next((place, item) for place, item in self.world.items() if isinstance(item, Cell) and item.id == wanted)

    def done_twice(self) -> int:
        """Physical effects on cells beyond one of each kind, and parts that fell: what a blind repetition does."""
        cells = [item for _, item in self.world.items() if isinstance(item, Cell)]
        doses = sum(cell.volume > 1.5 * DOSE for cell in cells)
        crimps = sum(cell.damage.count("crimped twice") for cell in cells)
        pressed = sum(cell.crimped_at is not None and "crimp broken off" not in cell.damage for cell in cells)
        on_nothing = max(0, int(self.world.memory("press").get("cycles", 0)) - pressed - crimps)
        fallen = int(self.world.memory("arm").get("fallen", 0))
        return doses + crimps + on_nothing + fallen

    def differs(self, run: Run) -> str | None:
        """What is really not so although the run says that it is complete, or None."""
        place, cell = self.cell_of(run)
        journaled = self.daemon.lab.places.place_of(run.sample)
        if place != journaled:
            return f"{run.sample} is at {place}, and the journal says {journaled}"
        if run.outcome != "complete":
            return None
        if not place.startswith("tray/"):
            return f"{run.sample} is at {place} after its end"
        if not 0.5 * DOSE < cell.volume < 1.5 * DOSE:
            return f"{run.sample} holds {cell.volume:.3g} µL"
        if cell.parts.count(LID) != 1 or cell.crimped_at is None or cell.damage:
            return f"{run.sample}: parts {cell.parts}, crimped at {cell.crimped_at}, damage {cell.damage}"
        return None


@contextlib.asynccontextmanager
async def fault_lab(
    directory: Path,
    seed: int,
    *,
    down: Collection[str] = (),
    profile: str = "handshake",
    more: dict[str, Any] | None = None,
    often: Collection[str] = (),
    between: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]] | None = None,
) -> AsyncIterator[FaultLab]:
    """A lab at work for as long as the block lasts.

    Args:
        directory: an empty folder of its own.
        seed: of all that is random in the simulators.
        down: devices that are switched off at the start.
        profile: of the press.
        more: further devices of lab.yaml.
        often: devices that are looked at each second, and not as lab.yaml says.
        between: is told where each simulator listens, and gives the settings with which its driver is to reach it.
    """
    raw = lab_of(directory, seed, profile)
    raw["devices"] |= more or {}
    for name in often:
        raw["devices"][name]["poll"] = {"idle": "1 s", "busy": "1 s"}
    host = SimulatorHost(raw, directory, directory / "store" / "simulators")
    overrides = await host.start()
    try:
        for name, settings in overrides.items():
            raw["devices"][name]["settings"] |= settings
            simulator = host.simulators[name]
            # after a power cut a device comes up at the address that it had
            object.__setattr__(simulator.bench, "settings", dict(raw["devices"][name]["settings"]))
            if name in down:
                await simulator.stop()
            if between is not None:
                raw["devices"][name]["settings"] |= await between(name, settings)
        path = directory / "lab.yaml"
        with path.open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(raw, file)
        daemon = Daemon(load_lab(path), simulators=False)
        async with daemon.open():
            for name, device in daemon.lab.devices.items():
                if name not in down:
                    await device.wait_ready()
            yield FaultLab(daemon, host.simulators, host.world)
            async with asyncio.timeout(3600):  # a lab that does not end is a finding, too
                await daemon.engine.stop_all("faults", "the round is over")
    finally:
        await host.stop()
