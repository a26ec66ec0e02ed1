"""Calls of other protocols: what they are given, what they return, and what happens when they do not."""

from __future__ import annotations

from typing import Any

import pytest

from labd.files.library import Library
from labd.protocol import InputErrors, check, load
from labd.protocol.messages import Decided, Do
from labd.sdk import Quantity
from tests.protocol.walking import Walk, protocol

PRESS = """\
labd: 1
protocol: pressing
version: 1.4.0
parameters:
  force: {type: quantity, default: 5 kN, min: 1 kN, max: 9 kN}
  turns: {type: integer, default: 1, min: 1, max: 3}
roles: {ram: crimper}
results:
  peak: =pressed.peak_force
  enough: =pressed.peak_force >= 0.9 * force
start: shut
states:
  shut:
    steps:
      - do: ram.crimp
        with: {force: =force}
        as: pressed
    catch: {fault: spoilt, timeout: {hold: It is slow., continue_at: [shut, spoilt]}}
    next: [{if: visits < turns, go: shut}, {go: shut_well}]
    max_visits: 3
  shut_well: {end: complete}
  spoilt: {end: scrapped}
cleanup:
  - do: ram.open
"""
CALL = """\
  work:
    steps:
      - call: pressing@1
        with: {force: =2 * base}
        roles: {ram: press}
        as: found
      - set: {soft: =not found.enough}
    next: [{if: found.peak < 1 kN, go: scrap}, {go: done}]
"""
BASE = "parameters: {base: {type: quantity, default: 3 kN, min: 1 kN, max: 4 kN}}\n"


def calling(states: str = CALL, more: str = BASE, callee: str = PRESS, **parameters: Any) -> Walk:
    return Walk(protocol(states, more), {"pressing": callee}, **parameters)


def test_it_is_done_with_its_parameters_and_our_device() -> None:
    (order,) = calling().orders.values()
    assert (order.role, order.parameters["force"]) == ("press", Quantity(6.0, "kN"))
    assert (order.step_id, order.token) == ("work:1/1>shut:1/1", ">")


def test_its_results_are_ours() -> None:
    walk = calling()
    walk.done("press.crimp", peak_force=5.0, dwell=2.0, displacement=None, cycles=1)
    assert walk.ended == "complete"
    assert walk.results["found"] == {"peak": 5.0, "enough": False}
    assert walk.results["soft"] is True


def test_all_its_roles_are_reserved_with_the_state() -> None:
    assert calling().machine.roles_of("work") == {"press"}


def test_its_names_are_its_own() -> None:
    walk = calling()
    walk.done("press.crimp")
    assert set(walk.results) == {"found", "soft"}


def test_its_states_and_decisions_are_told() -> None:
    walk = calling()
    walk.done("press.crimp")
    whats = [command.what for command in walk.said if isinstance(command, Decided)]
    assert "enter pressing@1:shut" in whats
    assert "pressing@1 returns" in whats


def test_it_goes_round_in_its_own_states() -> None:
    walk = calling(CALL.replace("{force: =2 * base}", "{force: =2 * base, turns: 2}"))
    walk.done("press.crimp")
    walk.done("press.crimp")
    assert walk.ended == "complete"
    steps = [command.step_id for command in walk.said if isinstance(command, Do)]
    assert steps == ["work:1/1>shut:1/1", "work:1/1>shut:2/1"]


def test_an_end_that_is_not_complete_ends_the_run_so() -> None:
    walk = calling()
    walk.failed("press.crimp", "fault")
    assert walk.ended == "scrapped"
    assert walk.machine.state == "work"


def test_its_failure_is_caught_by_itself_and_not_by_its_caller() -> None:
    walk = calling(CALL.replace("    next:", "    catch: {rejected: scrap}\n    next:", 1))
    assert walk.machine.catches("fault", "work:1/1>shut:1/1")
    assert not walk.machine.catches("rejected", "work:1/1>shut:1/1")
    walk.failed("press.crimp", "rejected")
    assert walk.hold == "pressing@1: ram.crimp: no"
    walk.resume()
    assert walk.ordered == ["press.crimp"]


class TestHolds:
    """Holds inside what is called."""

    def held(self) -> Walk:
        walk = calling()
        walk.failed("press.crimp", "timeout")
        return walk

    def test_the_reason_names_it_and_where_it_may_go_on(self) -> None:
        walk = self.held()
        assert walk.hold == "pressing@1: It is slow. (ram.crimp: no)"
        assert walk.machine.hold is not None
        assert walk.machine.hold.continue_at == ("pressing@1:shut", "pressing@1:spoilt")

    def test_the_same_step_again(self) -> None:
        walk = self.held()
        walk.resume()
        assert [do.step_id for do in walk.orders.values()] == ["work:1/1>shut:1/1~2"]

    def test_going_on_at_a_state_of_it(self) -> None:
        walk = self.held()
        walk.resume("pressing@1:spoilt")
        assert walk.ended == "scrapped"

    def test_going_on_at_a_state_of_ours_leaves_it(self) -> None:
        walk = self.held()
        walk.resume("done")
        assert walk.ended == "complete"

    def test_only_states_that_there_are(self) -> None:
        walk = self.held()
        assert walk.machine.goes_on_at("pressing@1:shut_well")
        assert walk.machine.goes_on_at("scrap")
        assert not walk.machine.goes_on_at("pressing@1:nowhere")
        assert not walk.machine.goes_on_at("pressing@2:shut")

    def test_what_would_be_repeated_is_told(self) -> None:
        callee = PRESS.replace("{go: shut_well}", "{if: visits < 5, go: hold}, {go: shut_well}")
        walk = calling(callee=callee)
        walk.done("press.crimp")
        assert walk.machine.held
        assert walk.machine.repeats == "ram.crimp"


def test_results_without_a_value_hold_and_the_call_is_not_done_again_unasked() -> None:
    walk = calling(callee=PRESS.replace("peak: =pressed.peak_force", "peak: =pressed.peak_force + 0 kN"))
    walk.done("press.crimp", peak_force=None, dwell=2.0, displacement=None, cycles=1)
    assert "pressed.peak_force" in walk.hold
    assert walk.machine.repeats == "pressing@1"
    walk.resume("done")
    assert walk.ended == "complete"


def test_a_hold_behind_a_call_does_not_call_again() -> None:
    states = CALL.replace("      - set: {soft: =not found.enough}\n", "").replace("go: scrap}", "go: hold}")
    walk = calling(states)
    walk.done("press.crimp", peak_force=0.5, dwell=2.0, displacement=None, cycles=1)
    assert walk.machine.held
    assert walk.machine.repeats is None
    walk.resume()
    assert (walk.machine.held, walk.ordered) == (True, [])


COUNT = """\
labd: 1
protocol: count
version: 1.0.0
parameters: {from: {type: integer, default: 0}}
results: {to: =n}
start: add
states:
  add:
    set: {n: =from + 1}
    next: added
  added: {end: complete}
"""


def test_many_calls_that_end_at_once() -> None:
    states = """\
  work:
    steps:
      - set: {n: 0}
      - repeat: {times: 300}
        steps:
          - {call: count@1, with: {from: =n}, as: counted}
          - set: {n: =counted.to}
    next: done
"""
    walk = Walk(protocol(states), {"count": COUNT})
    assert (walk.ended, walk.results["n"]) == ("complete", 300)


def test_a_call_that_goes_through_many_states_at_once() -> None:
    callee = COUNT.replace(
        "    next: added\n", "    next: [{if: visits < 900, go: add}, {go: added}]\n    max_visits: 900\n"
    )
    walk = Walk(protocol("  work:\n    call: count@1\n    as: counted\n    next: done\n"), {"count": callee})
    assert walk.ended == "complete"


def test_calls_in_branches_and_one_that_ends_scrapped_at_once() -> None:
    states = """\
  work:
    parallel:
      one: [{do: arm.home}]
      two: [{call: broken@1}]
      three: [{do: cycler.cell_off}]
    next: done
"""
    broken = COUNT.replace("protocol: count", "protocol: broken").replace("end: complete", "end: scrapped")
    walk = Walk(protocol(states), {"broken": broken})
    assert (walk.ordered, walk.cancelled) == (["arm.home"], ["work:1/1.one.1"])  # the third never began
    walk.done("arm.home")
    assert walk.ended == "scrapped"


OUTER = """\
labd: 1
protocol: outer
version: 2.0.0
roles: {mine: crimper}
results: {peak: =inner.peak}
start: go
states:
  go:
    call: pressing@1
    roles: {ram: mine}
    as: inner
    next: gone
  gone: {end: complete}
"""


def test_calls_within_calls() -> None:
    states = """\
  work:
    call: outer@2
    roles: {mine: press}
    as: found
    next: [{if: found.peak > 1 kN, go: done}, {go: scrap}]
"""
    walk = Walk(protocol(states), {"pressing": PRESS, "outer": OUTER})
    (order,) = walk.orders.values()
    assert (order.role, order.step_id) == ("press", "work:1/1>go:1/1>shut:1/1")
    walk.failed("press.crimp", "timeout")
    assert walk.hold == "outer@2: pressing@1: It is slow. (ram.crimp: no)"
    assert walk.machine.goes_on_at("outer@2:pressing@1:shut")
    walk.resume("outer@2:pressing@1:shut")
    walk.done("press.crimp")
    assert walk.ended == "complete"


def _problems(states: str, more: str = "", **calls: str) -> list[str]:
    try:
        found = check(load(protocol(states, more), library=Library(calls)))
    except InputErrors as errors:
        found = list(errors.problems)
    return [f"{problem.code} {problem.message}" for problem in found]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("pressing@1\n", "presing@1\n", "P212 there is no protocol `presing`"),
        ("pressing@1\n", "pressing@2\n", "P212 `pressing` is of version 1.4.0, not 2"),
        ("pressing@1\n", "pressing\n", "P212 `pressing` names no version"),
        ("{force: =2 * base}", "{forse: =2 * base}", "P203 `pressing@1` has no parameter `forse`"),
        ("{force: =2 * base}", "{force: 3 s}", "P207 `3 s` is a duration, and a force belongs here"),
        ("{force: =2 * base}", "{force: 10 kN}", "P208 10 kN is above the greatest, 9 kN"),
        ("{ram: press}", "{rem: press}", "P215 `pressing@1` has no role `rem`"),
        (
            "{ram: press}",
            "{ram: cycler}",
            "P215 `pressing@1` needs a crimper for `ram`, and `cycler` is a potentiostat",
        ),
        ("{ram: press}", "{ram: pres}", "P215 `pressing@1` needs a crimper for `ram`"),
        ("found.peak <", "found.peek <", "P205 a pressing result has no `peek`"),
    ],
)
def test_mistakes_in_a_call_are_told(old: str, new: str, told: str) -> None:
    found = _problems(CALL.replace(old, new, 1), BASE, pressing=PRESS)
    assert any(problem.startswith(told) for problem in found), found


def test_a_protocol_that_calls_itself_is_told() -> None:
    circle = OUTER.replace("pressing@1", "outer@2").replace("    roles: {ram: mine}\n", "").replace("inner.peak", "1")
    states = "  work:\n    call: outer@2\n    roles: {mine: press}\n    next: done\n"
    assert any(problem.startswith("P213") for problem in _problems(states, outer=circle))
