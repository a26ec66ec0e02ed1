"""Watches: conditions over live signals while a state is active; and waits until one holds."""

from __future__ import annotations

import pytest

from labd.expr import Missing
from labd.protocol.messages import Await, Sleep
from tests.protocol.sound import problems_of
from tests.protocol.walking import Walk, protocol

WATCH = """\
  work:
    steps:
      - do: arm.home
      - do: arm.home
    watch:
      - {if: cycler.voltage < 0.2 V, for: 5 s, go: scrap}
      - {if: cycler.voltage > 5 V, go: {hold: Much too high., continue_at: [scrap]}}
    next: done
"""
LOW, GOOD, HIGH = ({"voltage": volts} for volts in (0.1, 3.0, 6.0))
STALE = {"voltage": Missing("is 20 s old")}


def test_a_condition_that_has_held_its_time_leaves_the_state() -> None:
    walk = Walk(protocol(WATCH))
    walk.see(cycler=LOW)
    walk.wait(4.9)
    assert walk.cancelled == []
    walk.wait(0.2)
    assert walk.cancelled == ["work:1/1"]
    walk.done("arm.home")
    assert (walk.ended, walk.done_so_far) == ("scrapped", ["arm.home"])


def test_a_condition_that_ceases_in_between_counts_from_anew() -> None:
    walk = Walk(protocol(WATCH))
    walk.see(cycler=LOW)
    walk.wait(4)
    walk.see(cycler=GOOD)
    walk.see(cycler=LOW)
    walk.wait(4)
    assert walk.cancelled == ["watch:0:1"]
    walk.wait(1)
    walk.done("arm.home")
    assert walk.ended == "scrapped"


def test_seen_again_and_again_its_time_goes_on() -> None:
    walk = Walk(protocol(WATCH))
    for _ in range(5):
        walk.see(cycler=LOW)
        walk.wait(1)
    assert [command.step_id for command in walk.said if isinstance(command, Sleep)] == ["watch:0:1"]
    walk.done("arm.home")
    assert walk.ended == "scrapped"


def test_without_a_time_at_once_and_a_hold_leaves_what_is_under_way() -> None:
    walk = Walk(protocol(WATCH))
    walk.see(cycler=HIGH)
    assert walk.hold == "Much too high. (cycler.voltage > 5 V (cycler.voltage 6 V))"
    assert walk.cancelled == []
    walk.see(cycler=GOOD)
    walk.resume()
    walk.done("arm.home")
    walk.done("arm.home")
    assert walk.ended == "complete"


def test_what_ends_while_a_watch_holds_the_run_goes_on_after_it() -> None:
    walk = Walk(protocol(WATCH.replace("      - do: arm.home\n", "", 1)))
    walk.see(cycler=HIGH)
    walk.done("arm.home")
    assert walk.ended == ""
    walk.see(cycler=GOOD)
    walk.resume()
    assert walk.ended == "complete"


def test_going_on_at_a_state_after_a_watch_that_holds() -> None:
    walk = Walk(protocol(WATCH))
    walk.see(cycler=HIGH)
    walk.resume("scrap")
    walk.done("arm.home")
    assert walk.ended == "scrapped"


def test_a_signal_that_nobody_knows_holds_after_the_same_time() -> None:
    second = "      - {if: cycler.voltage > 5 V, go: {hold: Much too high., continue_at: [scrap]}}\n"
    walk = Walk(protocol(WATCH.replace(second, "")))
    walk.see(cycler=STALE)
    walk.wait(4)
    assert not walk.machine.held
    walk.wait(1)
    assert walk.hold == "nobody can tell whether cycler.voltage < 0.2 V: `cycler.voltage` is 20 s old"


def test_without_a_time_an_unknown_signal_holds_at_once() -> None:
    walk = Walk(protocol(WATCH))
    walk.see(cycler=STALE)
    assert "nobody can tell whether cycler.voltage > 5 V" in walk.hold


def test_a_watch_ends_with_its_state() -> None:
    states = WATCH.replace("next: done", "next: after") + "  after:\n    do: press.open\n    next: done\n"
    walk = Walk(protocol(states))
    walk.done("arm.home")
    walk.see(cycler=LOW)
    walk.done("arm.home")
    assert walk.states == ["work", "after"]
    assert walk.timers == {}
    assert not walk.machine.watching
    walk.see(cycler=HIGH)
    assert not walk.machine.held


def test_a_hold_ends_the_watches_time_and_it_begins_anew_after_it() -> None:
    walk = Walk(protocol(WATCH))
    walk.see(cycler=LOW)
    walk.failed("arm.home")
    walk.wait(100)
    assert walk.machine.held
    walk.resume()
    walk.see(cycler=LOW)
    walk.wait(5)
    walk.done("arm.home")
    assert walk.ended == "scrapped"


def test_the_first_of_two_that_trip_at_once_leads() -> None:
    states = WATCH.replace(", for: 5 s", "").replace("cycler.voltage > 5 V", "cycler.voltage < 3 V")
    walk = Walk(protocol(states))
    walk.see(cycler=LOW)
    walk.done("arm.home")
    assert walk.ended == "scrapped"


def test_one_that_trips_calls_off_the_time_of_another() -> None:
    states = WATCH.replace("> 5 V, go: {hold: Much too high., continue_at: [scrap]}", "< 1 V, go: done")
    walk = Walk(protocol(states))
    walk.see(cycler=LOW)
    assert walk.cancelled == ["watch:0:1", "work:1/1"]
    walk.done("arm.home")
    assert walk.ended == "complete"


def test_a_watch_inside_a_called_protocol_leads_there() -> None:
    callee = protocol(WATCH).replace("protocol: walked", "protocol: resting").replace("scrapped", "complete")
    states = "  work:\n    call: resting@1\n    next: done\n"
    walk = Walk(protocol(states), {"resting": callee})
    assert walk.machine.watching
    walk.see(cycler=LOW)
    assert list(walk.timers) == ["work:1/1>watch:0:1"]
    walk.wait(5)
    walk.done("arm.home")
    assert walk.ended == "complete"


def test_a_watch_of_the_caller_ends_all_that_is_called() -> None:
    callee = protocol(WATCH).replace("protocol: walked", "protocol: resting")
    states = "  work:\n    call: resting@1\n    watch: [{if: press.force > 1 kN, go: scrap}]\n    next: done\n"
    walk = Walk(protocol(states), {"resting": callee})
    walk.see(cycler=LOW)
    walk.see(press={"force": 2.0})
    assert sorted(walk.cancelled) == ["work:1/1>watch:0:1", "work:1/1>work:1/1"]
    walk.done("arm.home")
    assert (walk.ended, walk.done_so_far) == ("scrapped", ["arm.home"])


def test_what_a_called_protocol_was_leaving_is_awaited_too() -> None:
    callee = protocol(WATCH.replace(", for: 5 s", "")).replace("protocol: walked", "protocol: resting")
    states = "  work:\n    call: resting@1\n    watch: [{if: press.force > 1 kN, go: done}]\n    next: done\n"
    walk = Walk(protocol(states), {"resting": callee})
    walk.see(cycler=LOW)  # it leaves for its own `scrap`, and waits for the arm
    walk.see(press={"force": 2.0})  # and we leave it
    assert walk.ended == ""
    walk.done("arm.home")
    assert walk.ended == "complete"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("cycler.voltage < 0.2 V", "cycler.voltage < 0.2 kN", "P207"),
        ("cycler.voltage < 0.2 V", "visits > 1", "P314"),
        ("cycler.voltage < 0.2 V", "cycler.volts < 0.2 V", "P205"),
        ("for: 5 s", "for: 5", "P207"),
        ("go: scrap}", "go: scrab}", "P301"),
    ],
)
def test_mistakes_in_a_watch_are_told(old: str, new: str, code: str) -> None:
    assert code in {problem.code for problem in problems_of(protocol(WATCH.replace(old, new, 1)))}


# ── wait until ───────────────────────────────────────────────────────────────────────────────────────────────────
WAIT = """\
  work:
    steps:
      - wait: {until: cycler.voltage > 4 V, within: 10 min}
      - do: press.open
    catch: {timeout: scrap}
    next: done
"""


def test_waits_until_the_signal_is_seen() -> None:
    walk = Walk(protocol(WAIT))
    assert list(walk.awaits.values()) == [Await("work:1/1", "cycler.voltage > 4 V", 600.0)]
    assert walk.machine.watching
    walk.see(cycler=GOOD)
    assert walk.ordered == []
    walk.see(cycler=HIGH)
    assert (walk.ordered, walk.cancelled) == (["press.open"], ["work:1/1"])
    assert walk.decided("wait until") == [True]


def test_what_holds_already_is_not_waited_for() -> None:
    walk = Walk(protocol(WAIT.replace("> 4 V", "> 1 V")))
    assert (walk.ordered, walk.awaits) == (["press.open"], {})
    assert walk.decided("wait until") == [True]


def test_what_does_not_come_about_in_time_is_a_timeout() -> None:
    walk = Walk(protocol(WAIT))
    walk.expire()
    assert walk.ended == "scrapped"


def test_a_timeout_that_is_not_caught_holds_and_waits_anew() -> None:
    walk = Walk(protocol(WAIT.replace("    catch: {timeout: scrap}\n", "")))
    walk.expire()
    assert walk.hold == "step 1: cycler.voltage > 4 V did not come about"
    walk.resume()
    assert list(walk.awaits) == ["work:1/1~2"]


def test_a_stale_signal_holds_and_its_limit_is_called_off() -> None:
    walk = Walk(protocol(WAIT))
    walk.see(cycler=STALE)
    assert walk.hold == "work, step 1: `cycler.voltage` is 20 s old"
    assert walk.cancelled == ["work:1/1"]
    walk.see(cycler=HIGH)
    walk.resume()
    assert walk.ordered == ["press.open"]


def test_a_signal_that_was_not_read_yet_is_waited_for() -> None:
    states = "  first:\n    do: arm.home\n    next: work\n" + WAIT
    walk = Walk(protocol(states, start="first"))
    walk.outside["cycler"] = {"voltage": Missing("was not read yet")}
    walk.machine.update(walk.outside)
    walk.done("arm.home")
    assert not walk.machine.held
    walk.see(cycler=HIGH)
    assert walk.ordered == ["press.open"]
