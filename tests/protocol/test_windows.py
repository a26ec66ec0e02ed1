"""Time windows between states: at most so long, at least so long, and what follows when one expires."""

from __future__ import annotations

import pytest

from tests.protocol.sound import problems_of
from tests.protocol.walking import Walk, protocol

DOSE = """\
  work:
    steps:
      - do: press.open
      - do: press.close
    next: rest
  rest:
    wait: 60 s
    next: crimp
  crimp:
    steps:
      - do: press.crimp
        with: {force: 5 kN}
      - wait: 10 min
    catch: {rejected: again, timeout: scrap}
    next: done
  again:
    ask: Try it again?
    choices: {try: crimp, give up: give_up}
    max_visits: 3
  give_up:
    wait: 10 min
    next: scrap
"""


def window(text: str = "{from: work.start, to: crimp.start, within: 4 min, otherwise: late}") -> Walk:
    states = DOSE + "  late:\n    do: arm.home\n    next: scrap\n"
    return Walk(protocol(states if "late" in text else DOSE, f"windows: [{text}]\n"))


def to_rest(walk: Walk) -> Walk:
    walk.done("press.open")
    walk.done("press.close")
    return walk


def test_it_begins_with_the_first_order_that_is_sent_and_ends_with_the_next_states_first() -> None:
    walk = window()
    assert walk.timers == {}
    walk.sent("press.open")
    assert walk.timers == {"window:0:1": 240.0}
    to_rest(walk)
    walk.wait(60)
    assert "window:0:1" in walk.timers
    walk.done("press.crimp")
    assert walk.cancelled == ["window:0:1"]


class TestAnOrderThatComesToNothing:
    def test_does_not_end_the_window_to_its_state(self) -> None:
        walk = to_rest(window())
        walk.wait(60)
        walk.sent("press.crimp")
        walk.unsent("press.crimp")
        walk.wait(240)
        walk.failed("press.crimp", "cancelled", sent=False)
        assert walk.states[-1] == "late"

    def test_the_window_may_have_expired_meanwhile(self) -> None:
        walk = to_rest(window())
        walk.wait(60)
        walk.sent("press.crimp")
        walk.wait(240)
        assert walk.states[-1] == "crimp"
        walk.unsent("press.crimp")
        walk.failed("press.crimp", "cancelled", sent=False)
        assert walk.states[-1] == "late"

    def test_one_that_comes_through_in_time_is_in_time_whatever_it_takes(self) -> None:
        walk = to_rest(window())
        walk.wait(60)
        walk.sent("press.crimp")
        walk.wait(240)
        walk.done("press.crimp")
        assert "late" not in walk.states

    def test_begins_no_window(self) -> None:
        walk = window()
        walk.sent("press.open")
        walk.unsent("press.open")
        assert walk.timers == {}
        walk.sent("press.open")
        assert list(walk.timers) == ["window:0:2"]


def test_it_expires_and_leads_elsewhere() -> None:
    walk = window("{from: work.start, to: crimp.start, within: 30 s, otherwise: late}")
    to_rest(walk)
    walk.wait(30)
    assert walk.states == ["work", "rest", "late"]
    assert walk.decided("window work.start to crimp.start") == ["expired"]
    walk.wait(100)
    walk.done("arm.home")
    assert walk.ended == "scrapped"


def test_an_expiry_waits_for_the_action_that_is_running() -> None:
    walk = window()
    walk.sent("press.open")
    walk.wait(240)
    assert (walk.cancelled, walk.states) == (["work:1/1"], ["work"])
    walk.done("press.open")
    assert walk.states == ["work", "late"]


def test_one_that_begins_with_an_end_begins_with_the_last_outcome() -> None:
    walk = window("{from: work.end, to: crimp.start, within: 4 min, otherwise: late}")
    walk.done("press.open")
    walk.wait(10)
    walk.done("press.close")
    assert (walk.cancelled, walk.timers["window:0:2"]) == (["window:0:1"], 250.0)


def test_one_that_ends_with_an_end_ends_when_nothing_is_done_any_more() -> None:
    walk = window("{from: work.start, to: crimp.end, within: 4 min, otherwise: late}")
    to_rest(walk)
    walk.wait(60)
    walk.sent("press.crimp")
    assert walk.cancelled == []
    walk.done("press.crimp")
    walk.wait(600)  # the wait behind the crimp does not count
    assert walk.ended == "complete"


def test_one_that_ends_with_an_end_ends_when_the_state_is_left_in_its_middle() -> None:
    states = DOSE.replace("      - wait: 10 min\n", "      - do: arm.home\n").replace(
        "timeout: scrap}\n", "timeout: scrap}\n    watch: [{if: press.force > 9 kN, go: again}]\n"
    )
    walk = Walk(protocol(states, "windows: [{from: work.start, to: crimp.end, within: 4 min, otherwise: scrap}]\n"))
    to_rest(walk)
    walk.wait(60)
    walk.done("press.crimp")
    walk.see(press={"force": 9.5})
    walk.done("arm.home")
    assert (walk.states[-1], walk.timers) == ("again", {})


def test_an_order_that_was_never_sent_begins_nothing() -> None:
    walk = window()
    walk.failed("press.open", sent=False)
    assert walk.timers == {}


def test_a_state_that_was_left_before_its_action_was_sent_does_not_end_it() -> None:
    walk = to_rest(window())
    walk.wait(60)
    walk.failed("press.crimp", "rejected", sent=False)
    assert walk.states[-1] == "again"
    walk.wait(180)
    assert walk.states[-1] == "late"


def test_where_its_end_cannot_follow_any_more_it_is_closed() -> None:
    walk = to_rest(window())
    walk.wait(60)
    walk.failed("press.crimp", "rejected", sent=False)
    walk.answer("give up")
    assert list(walk.timers) == ["give_up:1/1"]
    walk.wait(600)
    assert walk.states[-2:] == ["give_up", "scrap"]


def test_where_a_person_goes_on_behind_it_it_is_closed() -> None:
    walk = window()
    walk.sent("press.open")
    walk.failed("press.open")
    walk.resume("give_up")
    assert list(walk.timers) == ["give_up:1/1"]


def test_of_a_state_that_is_visited_again_the_latest_counts() -> None:
    states = """\
  work:
    do: press.open
    max_visits: 2
    next: [{if: visits < 2, go: work}, {go: crimp}]
  crimp:
    do: press.crimp
    with: {force: 5 kN}
    next: done
"""
    walk = Walk(protocol(states, "windows: [{from: work.start, to: crimp.start, within: 60 s, otherwise: scrap}]\n"))
    walk.done("press.open")
    walk.wait(50)
    walk.sent("press.open")
    walk.wait(50)
    walk.done("press.open")
    walk.wait(5)
    walk.done("press.crimp")
    assert walk.ended == "complete"


class TestHeld:
    """Windows go on while the run is held, and act after it."""

    def held(self, text: str = "{from: work.start, to: crimp.start, within: 4 min, otherwise: late}") -> Walk:
        walk = window(text)
        walk.done("press.open")
        walk.failed("press.close", "rejected")
        assert walk.machine.held
        walk.wait(300)
        assert walk.states == ["work"]
        return walk

    def test_it_leads_elsewhere_before_the_same_step_is_done_again(self) -> None:
        walk = self.held()
        walk.resume()
        assert walk.states == ["work", "late"]
        assert walk.done_so_far == ["press.open", "press.close", "arm.home"]

    def test_where_a_person_goes_on_it_still_counts(self) -> None:
        walk = self.held()
        walk.resume("rest")
        assert walk.states == ["work", "rest", "late"]

    def test_behind_it_it_does_not(self) -> None:
        walk = self.held()
        walk.resume("give_up")
        assert walk.states == ["work", "give_up"]

    def test_without_otherwise_it_holds_once_more_and_then_goes_on(self) -> None:
        walk = self.held("{from: work.start, to: crimp.start, within: 4 min}")
        walk.resume()
        assert "the time window work.start to crimp.start has expired" in walk.hold
        walk.resume()
        assert walk.ordered == ["press.close"]

    def test_what_was_to_follow_follows_after_the_second_hold(self) -> None:
        watched = "do: arm.home\n    watch: [{if: press.force > 1 kN, go: hold}]\n    next: crimp"
        states = DOSE.replace("wait: 60 s\n    next: crimp", watched)
        walk = Walk(protocol(states, "windows: [{from: work.start, to: crimp.start, within: 4 min}]\n"))
        to_rest(walk)
        walk.see(press={"force": 2.0})
        walk.done("arm.home")
        walk.wait(300)
        walk.resume()
        assert "has expired" in walk.hold
        walk.resume()
        assert walk.states[-1] == "crimp"


class TestAtLeast:
    """A window that says how long to wait at least."""

    SOAK = "{from: work.end, to: crimp.start, at_least: 5 min}"

    def test_the_first_action_waits(self) -> None:
        walk = to_rest(window(self.SOAK))
        walk.wait(60)
        assert (walk.states[-1], walk.ordered) == ("crimp", [])
        walk.wait(239)
        assert walk.ordered == []
        walk.wait(1)
        assert walk.ordered == ["press.crimp"]

    def test_what_is_late_enough_begins_at_once(self) -> None:
        walk = to_rest(window(self.SOAK.replace("5 min", "50 s")))
        walk.wait(60)
        assert walk.ordered == ["press.crimp"]

    def test_it_waits_while_the_run_is_held_too(self) -> None:
        states = DOSE.replace("wait: 60 s", "do: arm.home")
        walk = to_rest(Walk(protocol(states, f"windows: [{self.SOAK}]\n")))
        walk.failed("arm.home")
        walk.wait(300)
        walk.resume()
        walk.done("arm.home")
        assert walk.ordered == ["press.crimp"]

    def test_all_first_actions_of_branches_wait(self) -> None:
        states = """\
  work:
    do: press.open
    next: two
  two:
    parallel:
      left: [{do: press.close}]
      right: [{do: arm.home}]
    next: done
"""
        walk = Walk(protocol(states, "windows: [{from: work.end, to: two.start, at_least: 10 s}]\n"))
        walk.done("press.open")
        assert walk.ordered == []
        walk.wait(10)
        assert walk.ordered == ["press.close", "arm.home"]

    def test_a_call_waits(self) -> None:
        callee = protocol("  inner:\n    do: press.close\n    next: done\n", start="inner")
        states = "  work:\n    do: press.open\n    next: two\n  two:\n    call: closing@1\n    next: done\n"
        text = protocol(states, "windows: [{from: work.end, to: two.start, at_least: 10 s}]\n")
        walk = Walk(text, {"closing": callee.replace("protocol: walked", "protocol: closing")})
        walk.done("press.open")
        assert walk.ordered == []
        walk.wait(10)
        assert walk.ordered == ["press.close"]

    def test_two_windows_the_longer_counts(self) -> None:
        walk = to_rest(window(f"{self.SOAK}, {self.SOAK.replace('5 min', '6 min')}"))
        walk.wait(359)
        assert walk.ordered == []
        walk.wait(1)
        assert walk.ordered == ["press.crimp"]


def test_a_window_of_a_called_protocol_is_its_own() -> None:
    states = "  first:\n    do: press.open\n    next: second\n  second:\n    wait: 2 min\n    next: third\n"
    states += "  third:\n    do: press.close\n    next: done\n"
    more = "windows: [{from: first.start, to: third.start, within: 1 min, otherwise: scrap}]\n"
    callee = protocol(states, more, start="first").replace("protocol: walked", "protocol: inner")
    walk = Walk(protocol("  work:\n    call: inner@1\n    next: done\n"), {"inner": callee})
    walk.sent("press.open")
    assert list(walk.timers) == ["work:1/1>window:0:1"]
    walk.done("press.open")
    walk.wait(60)
    assert walk.ended == "scrapped"


def test_all_that_is_done_in_a_call_is_done_in_its_state() -> None:
    states = "  first:\n    do: press.open\n    next: done\n"
    callee = protocol(states, start="first").replace("protocol: walked", "protocol: inner")
    states = "  work:\n    call: inner@1\n    next: rest\n  rest:\n    wait: 10 s\n    next: last\n"
    states += "  last:\n    do: arm.home\n    next: done\n"
    walk = Walk(
        protocol(states, "windows: [{from: work.start, to: last.start, within: 1 min, otherwise: scrap}]\n"),
        {"inner": callee},
    )
    walk.sent("press.open")
    assert list(walk.timers) == ["window:0:1"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{from: work.start, to: crimp.start}", "P312"),
        ("{from: crimp.start, to: work.start, within: 1 min}", "P312"),
        ("{from: rest.start, to: crimp.start, within: 1 min}", "P312"),
        ("{from: work.start, to: crimp.end, at_least: 1 min}", "P312"),
        ("{from: work.start, to: crimp.start, at_least: 1 min, otherwise: scrap}", "P312"),
        ("{from: work.start, to: crimq.start, within: 1 min}", "P301"),
        ("{from: work.begin, to: crimp.start, within: 1 min}", "P113"),
        ("{from: work.start, to: crimp.start, within: 1 kN}", "P207"),
        ("{from: work.start, to: crimp.start, within: 1 min, otherwise: scrab}", "P301"),
    ],
)
def test_mistakes_in_a_window_are_told(text: str, code: str) -> None:
    assert code in {problem.code for problem in problems_of(protocol(DOSE, f"windows: [{text}]\n"))}


def test_a_state_that_only_a_wrong_window_leads_to_is_not_told_too() -> None:
    states = """\
  work: {do: press.open, next: talk}
  talk: {ask: Go on?, choices: {go on: done}}
"""
    text = protocol(states, "windows: [{from: work.start, to: talk.start, within: 1 h, otherwise: scrap}]\n")
    assert [problem.code for problem in problems_of(text) if problem.severity == "error"] == ["P312"]
