"""Who may command what: in the daemon, whatever the broker lets through."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.lab.access import Role
from labd.lab.config import Mqtt
from labd.telemetry.users import LEAST, denied
from labd.telemetry.verbs import VERBS
from tests.telemetry.commanding import WAITING, commander, hearing

EMBEDDED = Mqtt(broker="embedded", port=0)
USERS: dict[str, Role] = {"eva": "viewer", "ben": "operator", "anna": "engineer"}


def test_the_table_names_every_verb_and_no_other() -> None:
    assert {name.split()[0] for name in LEAST} == VERBS.keys()


@pytest.mark.parametrize("verb", ["hold", "stop", "abort"])
def test_no_operator_is_kept_from_ending_something(verb: str) -> None:
    for arguments in ({}, {"run": "run-0001"}, {"all": True}, {"interlock": "x", "cause": "y"}):
        assert denied(USERS, "ben", verb, arguments) is None


def test_what_a_role_may_not_is_refused_with_who_may() -> None:
    assert "eva is viewer, and stop needs operator" in (denied(USERS, "eva", "stop", {}) or "")
    assert denied(USERS, "ben", "clear", {"run": "run-0001", "interlock": None}) is None
    told = denied(USERS, "ben", "clear", {"interlock": "oxygen"})
    assert "ben is operator, and clear of an interlock needs engineer" in (told or "")
    assert denied(USERS, "anna", "clear", {"interlock": "oxygen"}) is None


def test_who_is_not_named_may_nothing_and_nobody_is_named_all_may() -> None:
    assert "mallory is no user of this lab" in (denied(USERS, "mallory", "hold", {}) or "")
    assert denied({}, "anna", "hold", {}) is not None
    assert denied(None, "anybody", "clear", {"interlock": "oxygen"}) is None


@pytest.mark.parametrize(("user", "why"), [("eva", "eva is viewer"), ("mallory", "mallory is no user of this lab")])
async def test_a_refusal_is_answered_and_journaled(tmp_path: Path, user: str, why: str) -> None:
    async with hearing(tmp_path, EMBEDDED, USERS) as lab, commander(lab.port, user=user) as client:
        await client.give("c1", "abort", arguments={"all": True})
        (told,) = await client.answered("c1")
        assert (told["state"], why in told["reason"]) == ("rejected", True)
        (event,) = await lab.journal.events(kinds={"command.answered"})
        assert (event.data["by"], event.data["state"], why in event.data["reason"]) == (user, "rejected", True)
        assert await lab.journal.events(kinds={"command.taken"}) == []
        assert lab.press.safe == []


async def test_an_operator_makes_a_run_and_ends_it(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED, USERS) as lab, commander(lab.port, user="ben") as ben:
        await ben.give("c1", "start", arguments={"protocol": WAITING})
        assert await ben.states("c1", 2) == ["accepted", "done"]
        await ben.give("c2", "stop", arguments={"run": "run-0001"})
        assert await ben.states("c2", 2) == ["accepted", "done"]
