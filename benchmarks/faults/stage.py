"""A lab's simulators in a process of their own that also writes down what happens: `python -m benchmarks.faults.stage`.

As `labd-sim`, with two things for who watches: every physical effect is kept with its time in the world's file, and
orders come over the standard input: `look` writes the world down now, `bare` takes used tips off the robot by hand. The
end of the input ends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from labd import clock
from simulators._kit.host import SimulatorHost, read_yaml
from simulators._kit.world import Cell, World
from simulators.opentrons import OpentronsSimulator

MEMORY = "witness"
"""Under which the effects stand in the world's memory: `log`, a list of time (lab s since the epoch) and words."""

DROP = 0.5  # µL; less is no dose


class Witness:
    """Sees what is moved, laid on one another and dosed, and keeps it in the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = world.memory(MEMORY).setdefault("log", [])
        self._there: dict[str, str] = {}
        self._cells: dict[str, tuple[int, float]] = {}  # parts and µL, by cell
        self._look(tell=False)
        world.on_change(lambda: self._look(tell=True))

    def _look(self, *, tell: bool) -> None:
        there, seen = {}, []
        for place, item in self._world.items():
            there[place] = item.id
            if self._there.get(place) != item.id:
                seen.append(f"{item.id} to {place}")
            if isinstance(item, Cell):
                seen += self._grown(item)
        self._there = there
        if tell:
            self._log += [(clock.now().timestamp(), words) for words in seen]

    def _grown(self, cell: Cell) -> list[str]:
        parts, volume = self._cells.get(cell.id, (len(cell.parts), cell.volume))
        self._cells[cell.id] = len(cell.parts), cell.volume
        told = [f"{name} on {cell.id}" for name in cell.parts[parts:]]
        return told + ([f"dose for {cell.id}"] if cell.volume > volume + DROP else [])


async def act(path: Path) -> None:
    """Plays until the input ends."""
    lab = read_yaml(path)
    host = SimulatorHost(lab, path.parent, path.parent / str(lab["store"]) / "simulators")
    Witness(host.world)
    overrides = await host.start()
    ended = asyncio.Event()

    def ordered() -> None:
        orders = os.read(0, 4096).decode()
        for order in orders.split():
            if order == "bare":
                _bare(host)
            host.world.save()
            print("done", flush=True)
        if not orders:
            asyncio.get_running_loop().remove_reader(0)
            ended.set()

    asyncio.get_running_loop().add_reader(0, ordered)
    try:
        print(json.dumps(overrides), flush=True)
        await ended.wait()
    finally:
        await host.stop()


def _bare(host: SimulatorHost) -> None:
    for simulator in host.simulators.values():
        if isinstance(simulator, OpentronsSimulator):
            for mount in simulator.robot.pipettes:
                simulator.robot.drop(mount)


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    lab = read_yaml(path)
    clock.run(act(path), clock.timeline_of(lab["clock"], path.parent / str(lab["store"])))


if __name__ == "__main__":
    main()
