"""Cleanup: the steps on the way out, for what still answers; what fails in them is passed over."""

from __future__ import annotations

import pytest

from labd.expr import Missing
from labd.protocol.messages import Clean, Do
from tests.protocol.sound import problems_of
from tests.protocol.walking import Walk, protocol

CLEAN = """\
cleanup:
  - do: arm.home
  - do: press.open
  - set: {tidy: true}
  - do: cycler.cell_off
"""
WORK = """\
  work:
    do: press.crimp
    with: {force: 5 kN}
    as: pressed
    next: done
"""


def cleaning(clean: str = CLEAN, *roles: str, states: str = WORK) -> Walk:
    walk = Walk(protocol(states, clean))
    walk.clean_up(*(roles or ("arm", "press", "cycler")))
    return walk


def test_its_steps_are_done_in_order_and_its_begin_and_end_are_told() -> None:
    walk = cleaning()
    for name in ("arm.home", "press.open", "cycler.cell_off"):
        assert walk.ordered[-1:] == [name]
        walk.done(name)
    assert walk.cleaned
    assert walk.results["tidy"] is True
    assert [command for command in walk.said if isinstance(command, Clean)] == [Clean(), Clean(over=True)]


def test_its_steps_have_ids_of_their_own() -> None:
    walk = cleaning()
    assert [command.step_id for command in walk.said if isinstance(command, Do)] == ["work:1/1", "cleanup:1/1"]


@pytest.mark.parametrize("kind", ["rejected", "fault", "timeout", "unreachable"])
def test_what_fails_is_passed_over(kind: str) -> None:
    walk = cleaning()
    walk.failed("arm.home", kind)  # type: ignore[arg-type]
    assert "press.open" in walk.ordered
    assert walk.decided("skip") == ["arm.home: no"]
    assert not walk.machine.held


def test_what_has_no_device_any_more_is_passed_over() -> None:
    walk = cleaning(CLEAN, "press")
    walk.done("press.open")
    assert walk.cleaned
    assert walk.decided("skip") == [
        "arm.home: no device serves arm now",
        "cycler.cell_off: no device serves cycler now",
    ]


def test_an_outcome_of_before_changes_nothing() -> None:
    walk = cleaning()
    walk.done("press.crimp")
    assert walk.ordered == ["arm.home"]
    assert "pressed" not in walk.results


def test_a_value_that_nobody_knows_is_passed_over() -> None:
    walk = cleaning("cleanup:\n  - do: press.crimp\n    with: {force: =pressed.peak_force}\n  - do: press.open\n")
    assert walk.ordered == ["press.crimp", "press.open"]


UNKNOWN = """\
cleanup:
  - if: pressed.peak_force > 1 kN
    then: [{do: press.close}]
    else: [{do: arm.home}]
  - repeat: {times: =round(pressed.peak_force / 1 kN)}
    steps: [{do: press.close}]
  - repeat: {times: 2}
    steps:
      - repeat: {until: pressed.peak_force > 1 kN, at_most: 3}
        steps: [{do: press.open}]
      - wait: =index * 1 s
  - do: cycler.cell_off
"""


def test_a_condition_or_loop_that_nobody_can_tell_is_passed_over_as_a_whole() -> None:
    walk = cleaning(UNKNOWN)
    for seconds in (1, 2):
        walk.done("press.open")
        walk.wait(seconds)
    walk.done("cycler.cell_off")
    assert walk.cleaned
    assert walk.done_so_far == ["press.crimp", "press.open", "press.open", "cycler.cell_off"]


def test_a_loop_until_a_condition_ends_by_itself() -> None:
    walk = cleaning("cleanup:\n  - repeat: {until: press.force < -1 kN, at_most: 2}\n    steps: [{do: press.open}]\n")
    walk.done("press.open")
    walk.done("press.open")
    assert walk.cleaned


UNTIL = "cleanup:\n  - wait: {until: press.force > 3 kN, within: 1 min}\n  - do: press.open\n"


def test_it_sees_signals() -> None:
    walk = cleaning(UNTIL)
    assert walk.machine.watching
    walk.see(press={"force": 1.0})
    walk.see(press={"force": Missing("is old")})
    walk.see(press={"force": 4.0})
    assert walk.ordered[-1] == "press.open"


def test_what_does_not_come_about_is_passed_over() -> None:
    walk = cleaning(UNTIL)
    walk.expire()
    assert walk.ordered[-1] == "press.open"


def test_from_a_hold_and_from_a_state_that_is_being_left() -> None:
    walk = Walk(protocol(WORK, CLEAN))
    walk.failed("press.crimp")
    walk.clean_up("press")
    walk.done("press.open")
    assert walk.cleaned

    walk = Walk(protocol(WORK + "    watch: [{if: press.force > 1 kN, go: scrap}]\n", CLEAN))
    walk.see(press={"force": 2.0})
    walk.clean_up("press")
    walk.done("press.crimp")  # its outcome leads nowhere any more
    walk.done("press.open")
    assert (walk.cleaned, walk.ended) == (True, "")


def test_watches_windows_and_their_timers_end() -> None:
    states = WORK + "    watch: [{if: press.force > 1 kN, for: 1 min, go: scrap}]\n"
    walk = Walk(protocol(states, CLEAN + "windows: [{from: work.start, to: work.end, within: 5 min}]\n"))
    walk.sent("press.crimp")
    walk.see(press={"force": 2.0})
    walk.clean_up("press")
    assert (walk.timers, walk.machine.timers) == ({}, ())
    walk.see(press={"force": 3.0})
    assert walk.timers == {}


CALLEE = """\
labd: 1
protocol: inner
version: 1.0.0
roles: {ram: crimper, arm: arm}
start: shut
states:
  shut:
    do: ram.close
    catch: {fault: spoilt}
    next: shut_well
  shut_well: {end: complete}
  spoilt: {end: scrapped}
cleanup:
  - do: ram.open
  - do: arm.home
"""
CALLING = "  work:\n    call: inner@1\n    roles: {ram: press}\n    next: done\n"


def test_a_called_protocol_that_is_under_way_cleans_up_first() -> None:
    walk = Walk(protocol(CALLING, "cleanup:\n  - do: cycler.cell_off\n"), {"inner": CALLEE})
    assert walk.machine.cleans
    walk.clean_up("press", "cycler")
    assert walk.orders["work:1/1>cleanup:1/1"].role == "press"
    walk.done("press.open")
    walk.done("cycler.cell_off")
    assert walk.cleaned
    assert walk.decided("skip") == ["arm.home: no device serves arm now"]


def test_a_called_protocol_that_has_ended_scrapped_cleans_up_too() -> None:
    walk = Walk(protocol(CALLING), {"inner": CALLEE})
    walk.failed("press.close", "fault")
    assert walk.ended == "scrapped"
    assert walk.machine.cleans
    walk.clean_up("press", "arm")
    walk.done("press.open")
    walk.done("arm.home")
    assert walk.cleaned


def test_one_that_has_returned_does_not() -> None:
    states = CALLING.replace("next: done", "next: after") + "  after:\n    do: press.open\n    next: done\n"
    walk = Walk(protocol(states), {"inner": CALLEE})
    walk.done("press.close")
    assert not walk.machine.cleans


@pytest.mark.parametrize(
    "step",
    [
        "ask: What now?\n    input: {type: text}",
        "parallel: {a: [{wait: 1 s}], b: [{wait: 1 s}]}",
        "wait: {until: press.force < 1 kN}",
    ],
)
def test_what_might_never_end_has_no_place_in_it(step: str) -> None:
    assert "P313" in {problem.code for problem in problems_of(protocol(WORK, f"cleanup:\n  - {step}\n"))}
