"""Branches of `parallel`: at the same time, all to their ends, and none with a way out of the state."""

from __future__ import annotations

import pytest

from labd.protocol.messages import Cancel, Do, HoldRun
from tests.protocol.sound import problems_of
from tests.protocol.walking import Walk, protocol

TWO = """\
  work:
    steps:
      - parallel:
          left:
            - do: press.open
            - do: press.crimp
              with: {force: 5 kN}
              as: pressed
          right:
            - do: arm.home
      - do: cycler.cell_off
    catch: {fault: scrap, unreachable: {hold: It is not there., continue_at: [scrap]}}
    next: [{if: pressed.peak_force > 1 kN, go: done}, {go: scrap}]
"""


def test_all_branches_begin_at_once() -> None:
    assert Walk(protocol(TWO)).ordered == ["press.open", "arm.home"]


def test_steps_have_ids_and_tokens_of_their_branch() -> None:
    walk = Walk(protocol(TWO))
    assert [(do.step_id, do.token) for do in walk.orders.values()] == [
        ("work:1/1.left.1", "1.left"),
        ("work:1/1.right.1", "1.right"),
    ]


def test_what_follows_waits_for_the_last_branch() -> None:
    walk = Walk(protocol(TWO))
    walk.done("press.open")
    walk.done("press.crimp")
    assert walk.ordered == ["arm.home"]
    walk.done("arm.home")
    assert walk.ordered == ["cycler.cell_off"]
    walk.done("cycler.cell_off")
    assert walk.ended == "complete"


def test_a_caught_failure_calls_the_other_branches_off_and_waits_for_their_outcomes() -> None:
    walk = Walk(protocol(TWO))
    walk.failed("arm.home", "fault")
    assert walk.cancelled == ["work:1/1.left.1"]
    assert walk.ended == ""
    walk.done("press.open")
    assert (walk.ended, walk.ordered) == ("scrapped", [])


def test_an_action_that_is_left_to_its_outcome_still_gives_its_result() -> None:
    walk = Walk(protocol(TWO))
    walk.done("press.open")
    walk.failed("arm.home", "fault")
    walk.done("press.crimp", peak_force=4.5, dwell=2.0, displacement=None, cycles=1)
    assert walk.results["pressed"]["peak_force"] == 4.5


def test_a_failure_that_is_not_caught_holds_its_branch_only() -> None:
    walk = Walk(protocol(TWO))
    walk.failed("arm.home", "rejected", "the door is open")
    assert walk.hold == "arm.home: the door is open"
    walk.done("press.open")  # what was under way goes on, and what follows is said; the runtime keeps it back
    assert walk.ordered == ["press.crimp"]
    walk.resume()
    assert walk.ordered == ["press.crimp", "arm.home"]
    assert [do.step_id for do in walk.orders.values()][1] == "work:1/1.right.1~2"


def test_two_branches_that_are_held_go_on_together() -> None:
    walk = Walk(protocol(TWO))
    walk.failed("arm.home")
    walk.failed("press.open")
    assert walk.reasons == ["arm.home: no", "press.open: no"]
    walk.resume()
    assert sorted(walk.ordered) == ["arm.home", "press.open"]


def test_a_branch_that_is_caught_by_a_hold_leaves_the_others_alone() -> None:
    walk = Walk(protocol(TWO))
    walk.failed("arm.home", "unreachable")
    assert (walk.hold, walk.cancelled) == ("It is not there. (arm.home: no)", [])
    walk.done("press.open")
    walk.done("press.crimp")
    walk.resume()
    assert walk.ordered == ["arm.home"]


def test_going_on_elsewhere_calls_off_what_the_other_branches_do() -> None:
    walk = Walk(protocol(TWO))
    walk.failed("arm.home", "unreachable")
    walk.resume("scrap")
    assert walk.cancelled == ["work:1/1.left.1"]
    walk.done("press.open")
    assert walk.ended == "scrapped"


def test_a_branch_that_fails_and_leads_elsewhere_while_another_is_held_leaves_after_the_hold() -> None:
    walk = Walk(protocol(TWO))
    walk.failed("arm.home")
    walk.failed("press.open", "fault")
    assert walk.ended == ""
    walk.resume()
    assert (walk.ended, walk.ordered) == ("scrapped", [])


def test_a_way_that_holds_after_parallel_repeats_none_of_its_branches() -> None:
    text = protocol(TWO.replace("{go: scrap}]", "{go: hold}]").replace("      - do: cycler.cell_off\n", ""))
    walk = Walk(text)
    for name in ("press.open", "arm.home"):
        walk.done(name)
    walk.done("press.crimp", peak_force=0.5, dwell=2.0, displacement=None, cycles=1)
    assert walk.machine.held
    walk.resume()
    assert (walk.ordered, walk.machine.held) == ([], True)


ASKS = """\
  work:
    steps:
      - do: press.open
      - parallel:
          left:
            - ask: How heavy is it?
              input: {type: quantity, min: 1 g, max: 5 g}
              within: 10 min
              as: weight
          right:
            - ask: How thick is it?
              input: {type: quantity, min: 1 mm, max: 5 mm}
              as: thick
    next: done
"""


def test_both_branches_may_ask() -> None:
    walk = Walk(protocol(ASKS))
    walk.done("press.open")
    assert [ask.text for ask in walk.questions.values()] == ["How heavy is it?", "How thick is it?"]
    walk.answer(value=2.0)
    walk.answer(value=3.0)
    assert walk.ended == "complete"
    assert (walk.results["weight"]["value"], walk.results["thick"]["value"]) == (2.0, 3.0)


def test_a_question_in_a_branch_that_nobody_answers_holds_that_branch_and_is_put_again() -> None:
    walk = Walk(protocol(ASKS))
    walk.done("press.open")
    walk.expire()
    assert "in time" in walk.hold
    walk.resume()
    assert [(ask.text, ask.step_id) for ask in walk.questions.values()] == [
        ("How thick is it?", "work:1/2.right.1"),
        ("How heavy is it?", "work:1/2.left.1~2"),
    ]
    assert walk.done_so_far == ["press.open"]  # nothing before it is done again


NESTED = """\
  work:
    steps:
      - repeat: {times: 2}
        steps:
          - parallel:
              one:
                - parallel:
                    deep: [{do: press.open}]
                    wait: [{wait: =index * 1 s}]
                - do: press.close
              two:
                - repeat: {over: [1 s, 2 s], as: pause}
                  steps: [{wait: =pause}]
          - set: {turns: =index}
    next: done
"""


def test_branches_within_branches_within_loops() -> None:
    walk = Walk(protocol(NESTED))
    for turn in (1, 2):
        walk.done("press.open")
        assert walk.ordered == []
        walk.wait(turn)
        assert walk.ordered == ["press.close"]
        walk.wait(3)
        walk.done("press.close")
        assert walk.results["turns"] == turn
    assert walk.ended == "complete"
    steps = [command.step_id for command in walk.said if isinstance(command, Do)]
    assert len(set(steps)) == len(steps) == 4


def test_many_turns_of_branches_that_end_at_once() -> None:
    states = """\
  work:
    steps:
      - set: {n: 0}
      - repeat: {times: 1500}
        steps:
          - parallel:
              one: [{set: {n: =n + 1}}]
              two: [{set: {m: =index}}]
    next: done
"""
    walk = Walk(protocol(states))
    assert (walk.ended, walk.results["n"], walk.results["m"]) == ("complete", 1500, 1500)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("- do: arm.home", "- ask: Go?\n              choices: {yes: done}", "a choice would leave the state"),
        ("- do: arm.home", "- set: {pressed: 3}", "the branches `left` and `right` both write `pressed`"),
        (
            "- do: arm.home",
            "- {repeat: {until: press.force > 1 kN, at_most: 3, otherwise: scrap}, steps: [{do: arm.home}]}",
            "`otherwise` would leave the state",
        ),
    ],
)
def test_a_branch_has_no_way_out_and_names_of_its_own(old: str, new: str, told: str) -> None:
    assert any(told in problem.message for problem in problems_of(protocol(TWO.replace(old, new))))


def test_two_loops_in_two_branches_name_their_items_differently() -> None:
    text = protocol(
        NESTED.replace("[{wait: =index * 1 s}]", "[{repeat: {over: [1 s], as: pause}, steps: [{wait: =pause}]}]")
    )
    assert [problem.code for problem in problems_of(text)] == ["P310"]


def test_a_cancel_says_why_and_comes_before_what_follows() -> None:
    walk = Walk(protocol(TWO))
    walk.failed("arm.home", "fault", "E-stop")
    cancel = next(command for command in walk.said if isinstance(command, Cancel))
    assert (cancel.because, cancel.token) == ("arm.home: E-stop", "1.left")
    assert not any(isinstance(command, HoldRun) for command in walk.said)
