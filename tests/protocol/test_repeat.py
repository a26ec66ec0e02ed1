"""Loops: so many times, once for each item, or until a condition holds."""

from __future__ import annotations

from labd.protocol.messages import Do, Sleep
from tests.protocol.sound import problems_of
from tests.protocol.walking import Walk, protocol

TIMES = """\
  work:
    steps:
      - repeat: {times: =turns}
        steps:
          - wait: =index * 1 s
          - do: press.open
    next: done
"""
PARAMETER = "parameters: {turns: {type: integer, default: 3, min: 0, max: 5}}\n"


def test_so_many_times_and_index_counts_from_one() -> None:
    walk = Walk(protocol(TIMES, PARAMETER))
    for turn in (1, 2, 3):
        assert walk.ordered == []
        walk.wait(turn)
        walk.done("press.open")
    assert walk.ended == "complete"
    assert [command.seconds for command in walk.said if isinstance(command, Sleep)] == [1.0, 2.0, 3.0]


def test_no_turn_at_all() -> None:
    walk = Walk(protocol(TIMES, PARAMETER), turns=0)
    assert (walk.ended, walk.done_so_far) == ("complete", [])


def test_each_turns_steps_have_ids_of_their_own() -> None:
    walk = Walk(protocol(TIMES, PARAMETER))
    for _ in range(3):
        walk.wait(3)
        walk.done("press.open")
    assert [command.step_id for command in walk.said if isinstance(command, Do)] == [
        "work:1/1.2",
        "work:1/1.2~2",
        "work:1/1.2~3",
    ]


OVER = """\
  work:
    steps:
      - set: {total: 0 kN}
      - repeat: {over: [5 kN, 6 kN, 7 kN], as: wanted}
        steps:
          - do: press.crimp
            with: {force: =wanted}
            as: pressed
          - set: {total: =total + pressed.peak_force}
    next: [{if: total > 20 kN, go: done}, {go: scrap}]
"""


def test_once_for_each_item() -> None:
    walk = Walk(protocol(OVER))
    for force in (5.0, 6.0, 7.0):
        order = next(iter(walk.orders.values()))
        assert order.parameters["force"].value == force  # type: ignore[union-attr]
        walk.done("press.crimp")
    assert walk.ended == "complete"


UNTIL = """\
  work:
    steps:
      - repeat: {until: pressed.peak_force > 7 kN, at_most: 3, otherwise: scrap}
        steps:
          - do: press.crimp
            with: {force: 5 kN}
            as: pressed
    next: done
"""
WEAK = {"peak_force": 3.0, "dwell": 2.0, "displacement": None, "cycles": 3}


def test_until_a_condition_holds_after_a_turn() -> None:
    walk = Walk(protocol(UNTIL))
    walk.done("press.crimp", **WEAK)
    walk.done("press.crimp")
    assert (walk.ended, walk.decided("until")) == ("complete", [False, True])


def test_at_most_so_often_then_otherwise() -> None:
    walk = Walk(protocol(UNTIL))
    for _ in range(3):
        walk.done("press.crimp", **WEAK)
    assert walk.ended == "scrapped"


def test_without_otherwise_it_holds_and_going_on_is_another_round() -> None:
    walk = Walk(protocol(UNTIL.replace(", otherwise: scrap", "")))
    for _ in range(3):
        walk.done("press.crimp", **WEAK)
    assert walk.hold == "pressed.peak_force > 7 kN did not come about in 3 turns"
    walk.resume()
    assert walk.ordered == ["press.crimp"]
    for _ in range(3):
        walk.done("press.crimp", **WEAK)
    assert walk.machine.held


def test_otherwise_may_be_a_hold_with_a_reason() -> None:
    walk = Walk(protocol(UNTIL.replace("otherwise: scrap", "otherwise: {hold: It is soft., continue_at: [done]}")))
    for _ in range(3):
        walk.done("press.crimp", **WEAK)
    assert walk.hold == "It is soft. (pressed.peak_force > 7 kN did not come about in 3 turns)"
    walk.resume("done")
    assert walk.ended == "complete"


def test_a_condition_that_nobody_can_tell_holds_and_is_asked_again() -> None:
    walk = Walk(protocol(UNTIL.replace("pressed.peak_force > 7 kN", "press.force > 1 kN")))
    walk.see(press={"force": None})
    walk.done("press.crimp")
    assert "press.force" in walk.hold
    walk.see(press={"force": 2.0})
    walk.resume()
    assert (walk.ended, walk.done_so_far) == ("complete", ["press.crimp"])


def test_a_hold_after_a_loop_does_no_turn_of_it_again() -> None:
    walk = Walk(protocol(TIMES.replace("next: done", "next: {hold: Look., continue_at: [done]}"), PARAMETER), turns=1)
    walk.wait(1)
    walk.done("press.open")
    assert walk.machine.held
    walk.resume()
    assert (walk.machine.held, walk.ordered, walk.timers) == (True, [], {})
    walk.resume("done")
    assert walk.ended == "complete"


def test_a_step_in_a_loop_that_failed_goes_on_in_its_turn() -> None:
    walk = Walk(protocol(TIMES, PARAMETER), turns=2)
    walk.wait(1)
    walk.failed("press.open")
    walk.resume()
    walk.done("press.open")
    walk.wait(2)
    walk.done("press.open")
    assert (walk.ended, len(walk.done_so_far)) == ("complete", 3)


def test_loops_within_loops_have_indexes_of_their_own() -> None:
    states = """\
  work:
    steps:
      - set: {total: 0}
      - repeat: {times: 3}
        steps:
          - repeat: {times: =index}
            steps: [{set: {total: =total + index}}]
          - set: {total: =total + 100 * index}
    next: done
"""
    assert Walk(protocol(states)).results["total"] == (1 + 3 + 6) + 600


def test_mistakes_in_a_repeat_are_told() -> None:
    for repeat, code in (
        ("{until: press.force > 1 kN}", "P305"),
        ("{times: 3, until: press.force > 1 kN, at_most: 3}", "P309"),
        ("{times: 3, at_most: 3}", "P309"),
        ("{over: [1, 2]}", "P309"),
        ("{times: 2.5}", "P206"),
        ("{times: -1}", "P208"),
        ("{times: 3, otherwise: nowhere}", "P301"),
    ):
        text = protocol(TIMES.replace("{times: =turns}", repeat), PARAMETER)
        assert code in {problem.code for problem in problems_of(text)}, repeat
