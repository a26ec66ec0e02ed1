"""The simulated lab at work for many runs: starts them, answers for the operator, tells what became of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd import clock
from labd.daemon import Daemon
from labd.journal import Event
from labd.lab.config import load_lab
from labd.run.engine import Engine
from labd.run.run import Run
from labd.run.shipped import find_protocol
from simulators._kit.world import World

LAB = Path(__file__).parents[2] / "examples" / "simulated-lab"
LONGEST = 30 * 24 * 3600.0  # s of lab time for one run
THINKS = 60.0  # s of lab time that the operator needs to answer

Hook = Callable[[Run], Awaitable[None]]


@dataclass(frozen=True)
class Ran:
    """What became of one run."""

    id: str
    sample: str
    outcome: str
    cause: str
    seconds: float
    asked: tuple[str, ...]  # the questions' texts
    results: Mapping[str, Any]  # of its steps and variables
    events: Sequence[Event]

    def actions(self, name: str) -> list[dict[str, Any]]:
        """The intents of one action, in order."""
        return [dict(event.data) for event in self.events if event.kind == "action.intended" and _of(event, name)]

    def count(self, kind: str) -> int:
        return sum(event.kind == kind for event in self.events)

    @property
    def states(self) -> list[str]:
        """The protocol's states, in the order in which they were entered."""
        return [str(event.data["state"]) for event in self.events if event.kind == "protocol.entered"]


def _of(event: Event, name: str) -> bool:
    return f"{event.data['role']}.{event.data['action']}" == name


@dataclass
class Bench:
    """One lab."""

    daemon: Daemon

    @property
    def engine(self) -> Engine:
        return self.daemon.engine

    @property
    def world(self) -> World:
        world: World = self.daemon.host.world
        return world

    def faults(self, device: str) -> dict[str, Any]:
        """The switches of a simulator."""
        faults: dict[str, Any] = self.daemon.host.simulators[device].faults
        return faults

    def miss_next(self, *which: int) -> None:
        """The arm's next closings at a part fail: 1 is the next one."""
        closings = int(self.world.memory("arm").get("closings", 0))
        self.faults("arm")["miss_on"] = [closings + number for number in which]

    def drop(self) -> None:
        """The arm loses what it carries."""
        arm = self.daemon.host.simulators["arm"].arm
        arm._lose_part(arm.now)

    def free_gripper(self) -> None:
        """A person takes what is in the gripper."""
        self.drop()
        self.world.take("arm/gripper")

    async def run(
        self,
        protocol: str,
        parameters: Mapping[str, object] | None = None,
        *,
        sample: str | None = None,
        position: str | None = None,
        answers: Sequence[str] = (),
        meanwhile: Hook | None = None,
    ) -> Ran:
        """Runs a shipped protocol to its end.

        Args:
            answers: what the operator answers, in order.
            meanwhile: what else happens to the run.
        """
        source = find_protocol(protocol)
        began = clock.monotonic()
        run = await self.engine.start(
            source.read_text(encoding="utf-8"),
            source.name,
            parameters or {},
            sample=sample,
            position=position,
            by="test",
        )
        asked: list[str] = []
        helpers = [asyncio.create_task(self._operator(run, list(answers), asked))]
        if meanwhile is not None:
            helpers.append(asyncio.ensure_future(meanwhile(run)))
        try:
            async with asyncio.timeout(LONGEST):
                state = await self.engine.wait(run.id)
        except TimeoutError:
            told = run.told()
            raise AssertionError(
                f"{protocol} does not end: {told.state} in {told.protocol_state}: {told.cause}"
            ) from None
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        events = await self.daemon.journal.events(run=run.id)
        return Ran(
            run.id,
            run.sample,
            state.outcome or "",
            state.cause or "",
            clock.monotonic() - began,
            tuple(asked),
            run.machine.results,
            events,
        )

    async def _operator(self, run: Run, answers: list[str], asked: list[str]) -> None:
        while True:
            await asyncio.sleep(THINKS)
            question = run.question
            if question is not None and question.text not in asked:
                asked.append(question.text)
            if question is not None and answers:
                await self.engine.answer(run.id, answers.pop(0), by="test")


@asynccontextmanager
async def bench(directory: Path) -> AsyncIterator[Bench]:
    """The lab of examples/simulated-lab, in a folder of its own."""
    shutil.copytree(LAB, directory, dirs_exist_ok=True)
    daemon = Daemon(load_lab(directory / "lab.yaml"))
    async with daemon.open():
        await asyncio.gather(*(device.wait_ready() for device in daemon.lab.devices.values()))
        yield Bench(daemon)


PARTS = {
    "anode_case": "bottoms",
    "anode_spacer": "spacers1",
    "anode": "anodes",
    "separator": "separators",
    "cathode": "cathodes",
    "cathode_spacer": "spacers2",
    "spring": "springs",
    "cathode_case": "tops",
}


def parts(well: str) -> dict[str, str]:
    """The single parts of one cell, all from the same well of their trays."""
    return {name: f"tray/{tray}/{well}" for name, tray in PARTS.items()} | {"store_at": f"tray/cells/{well}"}
