"""What is learnt of the journal, and what teaches nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from labd.journal import Event
from labd.run.planning.durations import LATEST, Durations

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Journal:
    """Events of one run after the other, by seconds from the start."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, run: str, at: float, kind: str, **data: Any) -> None:
        stamp = (START + timedelta(seconds=at)).isoformat(timespec="microseconds")
        self.events.append(Event(len(self.events) + 1, stamp, run, kind, data, ""))

    def run(self, run: str, at: float, *visits: tuple[str, float, float], **parameters: Any) -> None:
        """Visits: state, s that it waited for its devices before, s that it took."""
        self.add(run, at, "run.started", protocol="cell", parameters=parameters)
        for state, waited, took in visits:
            at += waited
            self.add(run, at, "protocol.entered", state=state, waited=waited)
            at += took
        self.add(run, at, "protocol.ended", state="done")
        self.add(run, at, "run.ended", outcome="complete")


def test_the_time_in_which_a_run_waits_for_devices_is_not_counted() -> None:
    journal = Journal()
    journal.run("run-0001", 0, ("dose", 0, 40), ("crimp", 300, 12))
    found = Durations()
    found.fold(journal.events)
    assert found.seconds("cell", "dose") == 40
    assert found.seconds("cell", "crimp") == 12
    assert found.seconds("cell", "look") is None
    assert found.seconds("other", "dose") is None


def test_one_stuck_pick_changes_nothing_and_a_slower_robot_soon_does() -> None:
    journal = Journal()
    for number, took in enumerate([40, 41, 900, 39, 40]):
        journal.run(f"run-{number}", number * 1000, ("dose", 0, took))
    found = Durations()
    found.fold(journal.events)
    assert found.seconds("cell", "dose") == 40
    slower = Journal()
    for number in range(LATEST):
        slower.run(f"later-{number}", number * 1000, ("dose", 0, 60))
    found.fold(slower.events)
    assert found.seconds("cell", "dose") == 60
    assert found.visits("cell", "dose") == LATEST


def test_other_parameters_that_matter_are_another_time() -> None:
    journal = Journal()
    journal.run("run-1", 0, ("form", 0, 3600), cycles=1, rest={"v": 60.0, "u": "s"})
    journal.run("run-2", 0, ("form", 0, 10800), cycles=3, rest={"v": 60.0, "u": "s"})
    found = Durations()
    found.fold(journal.events)
    assert found.seconds("cell", "form", (("cycles", 3.0),)) == 10800
    assert found.seconds("cell", "form", (("cycles", 1.0), ("rest", 60.0))) == 3600
    assert found.seconds("cell", "form", (("cycles", 2.0),)) is None


def test_a_visit_that_was_held_teaches_nothing() -> None:
    journal = Journal()
    journal.add("run-1", 0, "run.started", protocol="cell", parameters={})
    journal.add("run-1", 0, "protocol.entered", state="dose", waited=0.0)
    journal.add("run-1", 10, "run.state", to="Holding")
    journal.add("run-1", 500, "run.state", to="Execute")
    journal.add("run-1", 530, "protocol.entered", state="crimp", waited=0.0)
    journal.add("run-1", 542, "protocol.entered", state="retrieve", waited=0.0)
    found = Durations()
    for event in journal.events:  # one at a time, as they come
        found.apply(event)
    assert found.seconds("cell", "dose") is None
    assert found.seconds("cell", "crimp") == 12


def test_a_restart_in_the_middle_teaches_nothing() -> None:
    journal = Journal()
    journal.add("run-1", 0, "run.started", protocol="cell", parameters={})
    journal.add("run-1", 0, "protocol.entered", state="dose")
    journal.add("run-1", 9000, "run.resumed")
    journal.add("run-1", 9010, "protocol.entered", state="crimp")
    found = Durations()
    found.fold(journal.events)
    assert found.seconds("cell", "dose") is None
