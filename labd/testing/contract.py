"""The contract: its clauses, each a check that a driver holds or breaks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from labd.clock import VirtualTimeline, run
from labd.testing import actions, declared, links, replay, soak
from labd.testing.subject import Subject

AT_LAST = 1.0  # s of virtual time in which connections that were closed come to their end

Clause = Callable[[Subject, Path], Awaitable[None]]


@dataclass(frozen=True)
class Check:
    """One clause of the contract.

    Args:
        clause: raises AssertionError with what is broken.
        needs_device: whether it can be tried only where there is a simulator.
    """

    clause: Clause
    needs_device: bool

    @property
    def name(self) -> str:
        return self.clause.__name__

    @property
    def words(self) -> str:
        """What it demands."""
        return inspect.getdoc(self.clause) or ""

    def __str__(self) -> str:
        return self.name

    def concerns(self, subject: Subject) -> bool:
        """Whether it can be tried on a driver."""
        return subject.simulator is not None or not self.needs_device

    def hold(self, subject: Subject, directory: Path) -> None:
        """Tries it, on virtual time.

        Args:
            subject: what is held to it.
            directory: an empty folder for ptys and such.

        Raises:
            AssertionError: the contract is broken; says how.
        """

        async def held() -> None:
            try:
                await self.clause(subject, directory)
            finally:
                await asyncio.sleep(AT_LAST)

        run(held(), VirtualTimeline())


def _checks(needs_device: bool, *clauses: Clause) -> tuple[Check, ...]:
    return tuple(Check(clause, needs_device) for clause in clauses)


CHECKS: tuple[Check, ...] = (
    *_checks(
        False,
        declared.every_number_has_a_unit,
        declared.every_action_has_an_effect_and_a_time_limit,
        declared.everything_is_documented,
        declared.its_role_is_known_and_kept,
        declared.its_quality_is_as_it_says,
        replay.transcripts_replay_on_the_driver,
    ),
    *_checks(
        True,
        replay.transcripts_replay_on_the_simulator,
        links.read_state_stands_a_hostile_link,
        links.read_state_in_mid_reply_is_cut,
        links.connecting_to_nothing_is_told,
        links.closing_is_harmless,
        links.safe_state_may_be_called_at_any_time,
        actions.every_action_can_be_done,
        actions.a_cancelled_action_leaves_link_and_device_known,
        actions.a_once_frame_goes_out_once_when_its_reply_is_lost,
        actions.outcome_tells_done_from_not_done,
        soak.many_polls_leave_nothing_behind,
    ),
)
