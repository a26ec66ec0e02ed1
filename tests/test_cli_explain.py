"""How a run's journal is told to a person."""

from __future__ import annotations

from typing import Any

import pytest

from labd.cli.explain import Entry, explain
from labd.cli.words import short_time, value_text


def at(second: int) -> str:
    return f"2026-01-01T08:{second // 60:02d}:{second % 60:02d}.000000Z"


def event(second: int, kind: str, /, **data: Any) -> dict[str, Any]:
    return {"seq": second + 1, "at": at(second), "run": "run-0001", "kind": kind, "data": data, "hash": ""}


INTENDED = {
    "action_id": "run-0001-001",
    "device": "stat1",
    "unit": "3",
    "action": "open_circuit",
    "parameters": {"duration": {"v": 600.0, "u": "s"}, "interval": {"v": 1.0, "u": "s"}},
    "attempt": 1,
}


def only(events: list[dict[str, Any]]) -> Entry:
    entries = explain(events)
    assert len(entries) == 1
    return entries[0]


def test_an_action_is_one_line_with_its_parameters_time_and_result() -> None:
    entry = only(
        [
            event(0, "action.intended", **INTENDED),
            event(0, "action.sent", action_id="run-0001-001"),
            event(1, "action.accepted", action_id="run-0001-001", evidence={}),
            event(600, "action.done", action_id="run-0001-001", result={"final_voltage": {"v": 3.1, "u": "V"}}),
        ]
    )
    assert entry.text == "stat1.3.open_circuit duration 10 min, interval 1 s"
    assert entry.came == "done in 10 min: final_voltage 3.1 V"
    assert entry.tone == "good"


def test_an_intent_alone_does_not_pretend_that_it_was_sent() -> None:
    entry = only([event(0, "action.intended", **INTENDED)])
    assert "nothing more is known" in entry.came
    assert entry.tone == "waits"


def test_an_unknown_outcome_keeps_who_settled_it() -> None:
    entry = only(
        [
            event(0, "action.intended", **INTENDED),
            event(0, "action.sent", action_id="run-0001-001"),
            event(9, "action.unknown", action_id="run-0001-001", message="no answer"),
            event(60, "action.reconciled", action_id="run-0001-001", verdict="not_done", by="mk"),
        ]
    )
    assert entry.came == "outcome unknown after 9 s: no answer; then not done, says mk"


def test_an_action_that_was_ended_early_says_so_and_why_beside_what_came_of_it() -> None:
    entry = only(
        [
            event(0, "action.intended", **INTENDED),
            event(0, "action.sent", action_id="run-0001-001"),
            event(60, "action.cancelled", action_id="run-0001-001", because="stat1.voltage < 3 V"),
            event(62, "action.done", action_id="run-0001-001", result={"final_voltage": {"v": 2.9, "u": "V"}}),
        ]
    )
    assert entry.came == "ended early after 60 s (stat1.voltage < 3 V); done in 62 s: final_voltage 2.9 V"


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("prepare:1/1.warm.1", "warm: stat1.3.open_circuit"),
        ("prepare:1/1.warm.2.then.1", "warm: stat1.3.open_circuit"),
        ("prepare:1/2.then.1", "stat1.3.open_circuit"),
        ("prepare:1/1.warm.1>pick:1/2", "warm: stat1.3.open_circuit"),
    ],
)
def test_an_action_of_a_branch_names_the_branch(step: str, told: str) -> None:
    assert only([event(0, "action.intended", **INTENDED, step=step)]).text.startswith(told)


def test_a_called_protocols_first_state_is_no_start_of_the_run() -> None:
    decided = {"what": "enter carry@1:pick", "value": "the run starts", "expression": "", "because": ""}
    assert only([event(0, "protocol.decided", **decided)]).text == "enter carry@1:pick"


def test_the_end_that_a_run_came_to_says_why() -> None:
    ended = {"state": "scrap", "outcome": "scrapped", "because": "mk chose: scrap it"}
    entry = only([event(0, "protocol.ended", **ended)])
    assert (entry.text, entry.came) == ("scrap", "an end; mk chose: scrap it")


def test_a_question_is_told_with_its_answer() -> None:
    asked = event(0, "question.asked", question_id="q1", kind="protocol", text="Sound?", choices=["keep", "scrap"])
    assert only([asked]).came == "not answered yet"
    answered = event(30, "question.answered", question_id="q1", choice="keep", value=None, by="mk")
    entry = only([asked, answered])
    assert entry.text == "Sound?  [keep | scrap]"
    assert entry.came == "mk after 30 s: keep"


def test_a_decision_says_why() -> None:
    decided = {"what": "next", "value": "look", "expression": "a < 0.95 * b", "because": "a 7.1 kN, b 7.8 kN"}
    entry = only([event(0, "protocol.decided", **decided)])
    assert (entry.text, entry.came) == ("next → look", "as a < 0.95 * b, with a 7.1 kN, b 7.8 kN")


def test_passing_states_of_the_life_cycle_are_left_away_and_causes_kept() -> None:
    moved = [
        event(0, "run.state", **{"from": "Idle", "to": "Starting", "command": "start", "by": "labd", "cause": None}),
        event(1, "run.state", **{"from": "Execute", "to": "Holding", "command": "hold", "by": "mk", "cause": "lunch"}),
    ]
    entry = only(moved)
    assert (entry.text, entry.came) == ("Execute → Holding, hold by mk", "lunch")


def test_an_event_of_a_kind_to_come_is_told_all_the_same() -> None:
    entry = only([event(0, "window.opened", name="wet", within={"v": 240.0, "u": "s"})])
    assert (entry.text, entry.came) == ("window.opened", "name wet, within 4 min")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"v": 7.8, "u": "kN"}, "7.8 kN"),
        ({"v": 1e-4, "u": "A"}, "100 µA"),
        ({"v": [1.5, 1.25], "u": "mAh"}, "[1.5 mAh, 1.25 mAh]"),
        ({"v": None, "u": "V"}, "–"),
        (True, "yes"),
        (3, "3"),
        (0.1 + 0.2, "0.3"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_values_carry_their_units(value: Any, text: str) -> None:
    assert value_text(value) == text


def test_times_are_short_on_the_same_day(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(short_time(at(0), at(60))) == len("08:00:00")
    assert len(short_time("2026-03-01T08:00:00Z", at(0))) == len("2026-03-01 08:00:00")
    assert short_time(None) == ""


@pytest.mark.parametrize(("packml", "told"), [("Execute", "goes on in crimp"), ("Held", "held as before in crimp")])
def test_a_restart_of_labd_is_part_of_the_story(packml: str, told: str) -> None:
    entry = only([event(0, "run.resumed", why="the daemon ended", state="crimp", packml=packml)])
    assert entry.text == f"labd was started again: {told}"
    assert entry.came == "the daemon ended"
