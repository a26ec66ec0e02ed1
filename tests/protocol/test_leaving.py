"""Leaving a state while actions are under way: each is called off once, and its outcome is awaited."""

from __future__ import annotations

from labd.protocol.messages import Cancel
from tests.protocol.walking import Walk, protocol

STATES = """\
  work:
    steps:
      - parallel:
          one:
            - do: press.crimp
              with: {force: 5 kN}
              as: pressed
          two:
            - do: cycler.open_circuit
              with: {duration: 1 h}
              as: rested
          three:
            - ask: What is its mass?
              input: {type: quantity, min: 1 g, max: 5 g}
          four:
            - wait: 2 h
          five:
            - wait: {until: cycler.voltage > 4 V}
    watch: [{if: cycler.voltage < 1 V, go: after}]
    catch: {fault: scrap}
    next: done
  after:
    do: arm.home
    next: done
"""
LOW = {"voltage": 0.5}


def left() -> Walk:
    walk = Walk(protocol(STATES))
    walk.sent("press.crimp")
    walk.see(cycler=LOW)
    return walk


def test_all_that_is_under_way_is_called_off_once() -> None:
    walk = left()
    steps = ["one", "two", "three", "four", "five"]
    assert walk.cancelled == [f"work:1/1.{name}.1" for name in steps]
    assert all("cycler.voltage < 1 V" in command.because for command in walk.said if isinstance(command, Cancel))


def test_the_next_state_is_entered_with_the_last_outcome() -> None:
    walk = left()
    walk.done("cycler.open_circuit", final_voltage=0.4, mean_voltage=0.5)
    assert (walk.states, walk.machine.state) == (["work"], "work")
    walk.done("press.crimp")
    assert walk.states == ["work", "after"]
    assert walk.results["rested"]["final_voltage"] == 0.4  # what it had until then


def test_an_action_that_was_cut_gives_no_result() -> None:
    walk = left()
    walk.done("press.crimp")
    walk.failed("cycler.open_circuit", "cancelled", sent=False)
    assert walk.states == ["work", "after"]
    assert "rested" not in walk.results


def test_a_failure_on_leaving_is_not_caught_any_more() -> None:
    walk = left()
    walk.failed("press.crimp", "fault")
    walk.done("cycler.open_circuit")
    assert walk.states == ["work", "after"]


def test_what_nobody_waits_for_changes_nothing() -> None:
    walk = left()
    walk.wait(10_000)
    walk.see(cycler=LOW)
    assert (walk.states, len(walk.cancelled)) == (["work"], 5)
    assert not walk.machine.watching


def test_which_outcomes_are_still_awaited_is_told() -> None:
    walk = left()
    assert not walk.machine.awaited("work:1/1.one.1")  # not done: it is not to be done again


def test_a_hold_while_it_is_left_puts_the_next_state_off() -> None:
    walk = Walk(protocol(STATES))
    walk.failed("press.crimp")
    walk.failed("cycler.open_circuit", "fault")
    assert (walk.ended, walk.machine.held) == ("", True)
    walk.resume()
    assert walk.ended == "scrapped"


def test_an_order_that_is_sent_while_its_state_is_left_begins_a_window() -> None:
    states = """\
  work:
    do: press.crimp
    with: {force: 5 kN}
    watch: [{if: cycler.voltage < 1 V, go: after}]
    next: after
  after:
    wait: 1 h
    next: last
  last:
    do: arm.home
    next: done
"""
    walk = Walk(protocol(states, "windows: [{from: work.start, to: last.start, within: 30 min, otherwise: scrap}]\n"))
    walk.see(cycler=LOW)
    walk.done("press.crimp")
    walk.wait(1800)
    assert walk.ended == "scrapped"


def test_one_that_was_never_sent_begins_none() -> None:
    states = """\
  work:
    do: press.crimp
    with: {force: 5 kN}
    watch: [{if: cycler.voltage < 1 V, go: after}]
    next: after
  after:
    do: arm.home
    next: done
"""
    walk = Walk(protocol(states, "windows: [{from: work.end, to: after.start, within: 30 min, otherwise: scrap}]\n"))
    walk.see(cycler=LOW)
    walk.failed("press.crimp", "cancelled", sent=False)
    assert walk.timers == {}


def test_a_full_state_that_a_watch_leads_to_leads_on() -> None:
    states = """\
  work:
    do: arm.home
    watch: [{if: cycler.voltage < 1 V, go: again}]
    next: done
  again:
    do: press.open
    next: work
    max_visits: {times: 1, otherwise: scrap}
"""
    walk = Walk(protocol(states))
    for _ in range(2):
        walk.see(cycler=LOW)
        walk.done("arm.home")
        walk.see(cycler={"voltage": 3.0})
        if walk.ordered:
            walk.done("press.open")
    assert walk.ended == "scrapped"
