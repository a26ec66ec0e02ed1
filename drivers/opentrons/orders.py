"""An action as the robot's commands, sent one by one; and what the robot's list of them says afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drivers.opentrons import plan
from drivers.opentrons.plan import Step, what_of
from drivers.opentrons.robot import Command, Robot, RunGone, failure
from drivers.opentrons.session import Session
from labd import clock
from labd.sdk import Call, DeviceError, Fault, Intent, OutcomeUnknown, Rejected, Unreachable

HOME = Step("home", "home", {}, 110.0)
PATIENCE = 30.0  # s; how long a robot that cannot be reached in mid-transfer is tried again
_RETRY = 2.0  # s


@dataclass(slots=True)
class Order:
    """Sends the commands of one action in the session's run.

    Args:
        moved: whether liquid was moved already: what fails from then on leaves the sample in doubt.
        number: of the next command; it stands in its key.
    """

    session: Session
    robot: Robot
    run: str
    call: Call
    trash: str
    moved: bool = False
    number: int = 0

    async def send(self, steps: Sequence[Step]) -> None:
        """Sends steps in their order, each when the one before it has succeeded.

        Raises:
            Unreachable, Rejected: no liquid was moved.
            Fault: the robot stopped, or refused in mid-transfer.
            OutcomeUnknown: a command was sent and is not known to have ended.
        """
        for step in steps:
            command = await self._execute(step)
            self.session.note(command)
            if command.status == "failed":
                raise failure(command, moved=self.moved)
            if self.number == 0:
                self.call.accepted(run=self.run, command=command.id)
            self.number += 1
            self.moved = self.moved or step.core

    async def _execute(self, step: Step) -> Command:
        key = f"{self.call.id}:{self.number}:{step.what}"
        end = clock.monotonic() + PATIENCE
        while True:
            try:
                return await self.robot.execute(self.run, step.kind, step.params, key, step.limit)
            except (OutcomeUnknown, asyncio.CancelledError):
                self.session.doubt(step.kind, step.params)
                raise
            except Unreachable as error:  # nothing of this command was sent, so it may be tried again
                if not self.moved:
                    raise
                if clock.monotonic() >= end:
                    words = f"the robot cannot be reached in mid-transfer: {error.message}"
                    raise OutcomeUnknown(words, sent=step.what) from error
            except RunGone as error:
                if not self.moved:
                    raise Unreachable(
                        f"our run was ended from outside before any liquid moved: {error.message}"
                    ) from error
                raise Fault(f"our run was ended from outside in mid-transfer: {error.message}") from error
            except Rejected as error:
                if not self.moved:
                    raise
                raise Fault(f"{error.message}, in mid-transfer: look at pipette and wells") from error
            await asyncio.sleep(_RETRY)

    async def make_ready(self) -> None:
        """Homes in a run that is new, and drops tips of ended runs, of which the present run knows nothing."""
        if not self.session.homed:
            await self.send([HOME])
        for mount in self.session.strays():
            steps = plan.drop(self.session.pipette_id(mount), self.trash, unknown_to_the_robot=True)
            try:
                await self.send(steps)
            except (Rejected, Fault) as error:
                del self.session.tips.on[mount]  # who goes on after this has looked
                raise Fault(
                    f"a tip of an ended run may still be on the {mount} pipette, and the robot does not drop it "
                    f"({error.message}): take it off, then go on"
                ) from error

    async def drop(self, mount: str) -> None:
        """Drops the tip of a mount, if the run knows of one."""
        if self.session.tip_on(mount) is not None:
            await self.send(plan.drop(self.session.pipette_id(mount), self.trash))


async def trace(robot: Robot, intent: Intent) -> tuple[list[Command], str | None]:
    """An action's own commands, by their keys, and why their absence would prove nothing.

    Runs that were made after the baseline's are looked through too: the action may have made one.
    """
    run, count, last = (intent.baseline.get(name) for name in ("run", "commands", "last"))
    if not isinstance(run, str) or not isinstance(count, int):
        return [], "the robot's run was not read before the order"
    runs = [one.id for one in await robot.runs()]
    if run not in runs:
        return [], "the robot no longer knows the run of the order: it was restarted"
    try:
        commands = await robot.commands(run, max(0, count - 1))
        intact = last is not None and bool(commands) and commands[0].id == last
        for later in runs[runs.index(run) + 1 :]:
            commands += await robot.commands(later)
    except Rejected as error:
        return [], f"the robot does not list its commands: {error.message}"
    mine = [command for command in commands if command.key.startswith(f"{intent.id}:")]
    if not mine and not intact:
        return [], "the robot no longer has the commands from before the order: it was restarted"
    return mine, None


def core_count(intent: Intent, mine: Sequence[Command]) -> int:
    """How many commands that move liquid an action consists of, by the stroke that it began with."""
    given: Any = intent.parameters
    if intent.action == "mix":
        return 2 * int(given.times)
    first = next((float(one.params["volume"]) for one in mine if what_of(one) == "aspirate"), float(given.volume))
    return 2 * int(round(given.volume / first) + given.mix_after)


def first_error(done: Sequence[Command]) -> DeviceError | None:
    """What the failed command among an action's finished ones means, or None."""
    moved = False
    for command in done:
        if command.status == "failed":
            return failure(command, moved=moved)
        moved = moved or what_of(command) in plan.CORE
    return None
