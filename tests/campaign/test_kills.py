"""The daemon is killed on both sides of every commit of a campaign: no proposal is lost, and none is made twice."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import pytest

from tests.campaign.living import Lab, lab, points
from tests.run.site import DeadError
from tests.run.world import WORLD

SIDES = {"after": "fuse", "before": "before"}
"""A commit was durable and nobody has heard of it, or it never came about."""


def undisturbed(path: Path) -> list[dict[str, object]]:
    with lab(path) as here:
        here.start()
        return points(here.until_over().record.all)


def killed_at(path: Path, side: str, commit: int) -> tuple[bool, list[dict[str, object]]]:
    """A campaign of two rounds whose daemon dies there; whether it came to that, and the points that were tried."""
    with lab(path) as here:
        setattr(here.journal, SIDES[side], commit)
        with contextlib.suppress(DeadError):
            here.start(request="once")
            here.until_over()
        dead = here.journal.cut_off.is_set()
        if dead:
            here.kill()
            here.up()
            here.start(request="once")  # whoever got no answer says it again
        record = here.until_over().record
        assert [one.status for one in record.all] == ["observed"] * 3
        assert record.ended == "all 3 cells are made"
        assert WORLD.effects["press.crimp"] == 3
        told = [event.kind for event in here.events("campaign.started", "campaign.proposed", "campaign.observed")]
        assert (told.count("campaign.started"), told.count("campaign.proposed")) == (1, 2)
        assert told.count("campaign.observed") == 3
        assert len(here.events("batch.submitted")) == 2
        assert not here.site.errors
        return dead, points(record.all)


@pytest.mark.parametrize("side", SIDES)
def test_no_proposal_is_lost_and_none_is_made_twice_wherever_the_daemon_dies(tmp_path: Path, side: str) -> None:
    wanted = undisturbed(tmp_path / "undisturbed")
    ends = (killed_at(tmp_path / str(commit), side, commit) for commit in itertools.count(1))
    died = list(itertools.takewhile(lambda end: end[0], ends))
    assert len(died) >= 20  # the start, two asks, two batches, and what three runs do
    assert all(tried == wanted for _, tried in died)


# ── people's words ───────────────────────────────────────────────────────────────────────────────────────────────────
def edit_and_veto(here: Lab) -> None:
    """While two proposals wait, one is edited and the other vetoed; what was not acknowledged is said again."""
    queue = here.site.engine.queue
    campaign = here.start(request="once")
    if campaign.record.all and any(one.status in ("running", "observed") for one in campaign.record.all):
        return  # all was said before
    if queue.paused is None:
        here.drive(queue.pause(by="eva"))
    here.let(5.0)
    first, second = campaign.record.all[:2]
    if not first.notes:
        here.drive(campaign.edit(first.id, {"force": 3.3}, by="eva", why="lower"))
    if not second.notes:
        here.drive(campaign.veto(second.id, by="eva", why="not that one"))
    here.drive(queue.resume(by="eva"))
    here.until_over()


def killed_while_steered(path: Path, side: str, commit: int) -> bool:
    with lab(path) as here:
        here.drive(here.site.engine.queue.pause(by="eva"))
        setattr(here.journal, SIDES[side], commit)
        with contextlib.suppress(DeadError):
            edit_and_veto(here)
        dead = here.journal.cut_off.is_set()
        if dead:
            here.kill()
            here.up()
            edit_and_veto(here)
        record = here.until_over().record
        assert [one.status for one in record.all] == ["observed", "vetoed", "observed", "observed"]
        assert [note.word for note in record.all[0].notes] == ["edited"]
        pressed = {event.data["sample"]: event.data["parameters"]["force"]["v"] for event in here.events("run.started")}
        assert pressed.pop("pressing-p0001-2") == 3.3
        assert sorted(pressed) == ["pressing-p0003", "pressing-p0004"]
        assert WORLD.effects["press.crimp"] == 3
        assert not here.site.errors
        return dead


@pytest.mark.parametrize("side", SIDES)
def test_what_a_person_says_holds_wherever_the_daemon_dies(tmp_path: Path, side: str) -> None:
    ends = (killed_while_steered(tmp_path / str(commit), side, commit) for commit in itertools.count(1))
    assert len(list(itertools.takewhile(bool, ends))) >= 20


def stop_it(here: Lab) -> None:
    """While two proposals wait, the campaign is stopped; what was not acknowledged is said again."""
    campaign = here.start(request="once")
    here.let(5.0)
    if campaign.record.ended is None:
        here.drive(campaign.stop(by="eva", why="enough"))
    here.drive(here.site.engine.queue.resume(by="eva"))
    here.let(60.0)


def killed_while_stopped(path: Path, side: str, commit: int) -> bool:
    with lab(path) as here:
        here.drive(here.site.engine.queue.pause(by="eva"))
        setattr(here.journal, SIDES[side], commit)
        with contextlib.suppress(DeadError):
            stop_it(here)
        dead = here.journal.cut_off.is_set()
        if dead:
            here.kill()
            here.up()
            if here.site.engine.queue.paused is not None:
                stop_it(here)
            here.let(60.0)
        record = here.campaigns.find("pressing").record
        assert {one.status for one in record.all} == {"vetoed"}
        assert WORLD.effects["press.crimp"] == 0
        assert all(job.state == "Aborted" for job in here.site.engine.queue.jobs(ended=True))
        return dead


@pytest.mark.parametrize("side", SIDES)
def test_a_stopped_campaign_makes_nothing_more_wherever_the_daemon_dies(tmp_path: Path, side: str) -> None:
    ends = (killed_while_stopped(tmp_path / str(commit), side, commit) for commit in itertools.count(1))
    assert len(list(itertools.takewhile(bool, ends))) >= 5
