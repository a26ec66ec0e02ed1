"""The operator of the script: answers by what is really so in the simulators' world, as a person would by looking."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults.lab import DOSE, FaultLab
from labd.lab.bus import Happening, RunState
from labd.run.lifecycle import Command
from labd.run.run import Run
from simulators._kit.world import LID, Cell
from simulators.opentrons import OpentronsSimulator

LOOKS = 180.0  # s of lab time until somebody has come and looked
TRIES = 12  # how often a run that is held again and again is gone on with


@dataclass(slots=True)
class Operator:
    """Answers what is asked, puts right what a person can, and goes on with what is held."""

    lab: FaultLab
    answered: dict[str, str] = field(default_factory=dict)  # question -> choice
    _asked: asyncio.Queue[RunState] = field(default_factory=asyncio.Queue)
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _tries: dict[str, int] = field(default_factory=dict)

    async def work(self) -> None:
        """Until it is cancelled."""
        forget = self.lab.daemon.lab.bus.subscribe(self._hear)
        try:
            while True:
                state = await self._asked.get()
                await asyncio.sleep(LOOKS)
                await self._look_after(state.run)
        finally:
            forget()

    def _hear(self, happening: Happening) -> None:
        if isinstance(happening, RunState) and (happening.question is not None or happening.state == "Held"):
            what = happening.question["id"] if happening.question else happening.since
            if (happening.run, what) not in self._seen:
                self._seen.add((happening.run, what))
                self._asked.put_nowait(happening)

    async def _look_after(self, run_id: str) -> None:
        """Works on what is so now: what was heard may have been settled since."""
        engine = self.lab.daemon.engine
        state = await engine.state(run_id)
        if state.question is not None:
            self._put_right(state.question["text"])
            choice = await self._truth(run_id)
            self.answered[state.question["id"]] = choice
            state = await engine.answer(run_id, choice, by="operator")
        if state.state != "Held" or state.question is not None:
            return
        tries = self._tries[run_id] = self._tries.get(run_id, 0) + 1
        run = next(run for run in self.lab.runs if run.id == run_id)
        if tries > TRIES:
            await engine.command(run_id, Command.STOP, by="operator", cause=f"held {tries} times: {state.cause}")
        else:
            await engine.command(run_id, Command.UNHOLD, by="operator", at=self._where(run))

    def _put_right(self, text: str) -> None:
        """Does by hand what a question asks for."""
        robot = self.lab.simulators["ot2"]
        assert isinstance(robot, OpentronsSimulator)
        if "take it off" in text:
            for mount in robot.robot.pipettes:
                robot.robot.drop(mount)

    async def _truth(self, run_id: str) -> str:
        """Whether the last action of a run was done, by a look at the world."""
        intent = (await self.lab.events("action.intended", run=run_id))[-1].data
        given: dict[str, Any] = intent["parameters"]
        match intent["action"]:
            case "transfer":
                return self._dosed(given["destination"])
            case "crimp":
                return self._crimped()
            case "pick":
                return self._picked(given["place"])
            case "place":
                return self._placed(given["place"])
        return "scrap"

    def _dosed(self, place: str) -> str:
        cell = self.lab.world.cell(place)
        share = cell.volume / DOSE if cell is not None else 0.5
        return "done" if share > 0.9 else "not done" if share < 0.1 else "scrap"

    def _crimped(self) -> str:
        cell = self.lab.world.cell("press/nest")
        if cell is None or cell.damage:
            return "scrap"
        return "done" if cell.crimped_at is not None else "not done"

    def _picked(self, place: str) -> str:
        held, there = self.lab.world.item("arm/gripper"), self.lab.world.item(place)
        if held is not None:
            return "done" if there is None else "scrap"
        return "not done" if there is not None else "scrap"

    def _placed(self, place: str) -> str:
        if self.lab.world.item("arm/gripper") is not None:
            return "not done"
        return "done" if self.lab.world.item(place) is not None else "scrap"

    def _where(self, run: Run) -> str | None:
        """The state of the protocol with which a run that the protocol held goes on; None: the same step again."""
        if not run.machine.held:
            return None
        place, cell = self.lab.cell_of(run)
        return where_to_go_on(place, cell)


def where_to_go_on(place: str, cell: Cell) -> str:
    """The state that is next for a cell as it is and where it is."""
    if cell.crimped_at is not None:
        return "done" if place.startswith("tray/") else "store"
    if LID in cell.parts:
        return "crimp" if place == "press/nest" else "to_press"
    return "close" if cell.volume > 0 else "dose"
