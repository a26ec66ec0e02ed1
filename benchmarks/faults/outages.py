"""Devices that are down at the start, or lose their power for a minute in mid-run: do the runs end well after all?"""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path

from benchmarks._figures import Figures
from benchmarks.faults import sized
from benchmarks.faults.lab import WELLS, FaultLab, fault_lab
from benchmarks.faults.lost import Tally, play
from labd import clock

DEVICES = ("ot2", "arm", "press")
AWAY = 60.0  # s of lab time without power
SPAN = 900.0  # s of lab time in which eight cells are made when nothing goes wrong, about


async def cut(lab: FaultLab, device: str, at: float, lasts: float = AWAY) -> None:
    """Takes a device's power for a time."""
    await asyncio.sleep(at)
    await lab.switch_off(device)
    await asyncio.sleep(lasts)
    await lab.switch_on(device)


async def vanishing(directory: Path, seed: int, cells: int, cuts: int, tally: Tally) -> None:
    """Cells at work while devices lose their power, one at a time, at instants by chance."""
    rng = random.Random(f"vanish/{seed}")
    span = SPAN * cells / len(WELLS)
    async with fault_lab(directory, seed) as lab:
        async with asyncio.TaskGroup() as group:
            at = 0.0
            for _ in range(cuts):
                at += rng.uniform(0.2, 1.8) * span / cuts
                group.create_task(cut(lab, rng.choice(DEVICES), at))
                at += AWAY
            await play(lab, [None] * cells)
        await tally.add(lab)


async def late(directory: Path, seed: int, cells: int, tally: Tally) -> None:
    """Runs are started while devices are still down; these come up one after the other."""
    rng = random.Random(f"late/{seed}")
    down = rng.sample(DEVICES, rng.randint(1, len(DEVICES)))
    async with fault_lab(directory, seed, down=down) as lab:
        async with asyncio.TaskGroup() as group:
            for device in down:
                group.create_task(_come(lab, device, rng.uniform(10.0, 600.0)))
            await play(lab, [None] * cells)
        await tally.add(lab)


async def _come(lab: FaultLab, device: str, at: float) -> None:
    await asyncio.sleep(at)
    await lab.switch_on(device)


def run(smoke: bool, figures: Figures, *, long: bool = False) -> None:
    for name, rounds in (("vanish", sized(smoke, long, (1, 4, 40))), ("down_at_start", sized(smoke, long, (1, 2, 20)))):
        tally = Tally()
        for seed in range(rounds):
            with tempfile.TemporaryDirectory() as directory:
                lived = (
                    vanishing(Path(directory), seed, len(WELLS), 5, tally)
                    if name == "vanish"
                    else late(Path(directory), seed, 4, tally)
                )
                clock.run(lived, clock.timeline_of("virtual"))
        tally.tell(figures, name)
