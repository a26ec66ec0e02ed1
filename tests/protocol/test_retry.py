"""Actions done again: after a known outcome, and a ONCE action only when the protocol says when."""

from __future__ import annotations

from labd.protocol.messages import Do
from tests.protocol.sound import problems_of
from tests.protocol.walking import Walk, protocol

PICK = """\
  work:
    do: arm.pick
    with: {place: =sample.position}
    as: picked
    retry: {times: 2, if: not picked.gripped, delay: 5 s}
    catch: {rejected: scrap}
    next: done
"""
MISSED = {"gripped": False, "width": None}
HELD = {"gripped": True, "width": 20.0}


def test_again_while_its_condition_holds_after_a_delay() -> None:
    walk = Walk(protocol(PICK))
    walk.done("arm.pick", **MISSED)
    assert (walk.ordered, walk.timers) == ([], {"work:1/1+1": 5.0})
    walk.wait(5)
    walk.done("arm.pick", **HELD)
    assert walk.ended == "complete"
    assert [command.step_id for command in walk.said if isinstance(command, Do)] == ["work:1/1", "work:1/1~2"]


def test_so_often_again_and_then_it_counts_as_done() -> None:
    walk = Walk(protocol(PICK))
    for _ in range(3):
        walk.done("arm.pick", **MISSED)
        walk.wait(5)
    assert (walk.ended, len(walk.done_so_far)) == ("complete", 3)
    assert walk.results["picked"] == MISSED


def test_again_when_it_was_rejected_and_then_it_is_caught() -> None:
    walk = Walk(protocol(PICK))
    for _ in range(3):
        walk.failed("arm.pick", "rejected")
        walk.wait(5)
    assert (walk.ended, len(walk.done_so_far)) == ("scrapped", 3)


def test_rejections_and_missed_grips_count_together() -> None:
    walk = Walk(protocol(PICK))
    walk.failed("arm.pick", "rejected")
    walk.wait(5)
    walk.done("arm.pick", **MISSED)
    walk.wait(5)
    walk.done("arm.pick", **MISSED)
    assert (walk.ended, walk.ordered) == ("complete", [])


def test_other_failures_are_not_tried_again() -> None:
    for kind in ("fault", "timeout", "unreachable"):
        walk = Walk(protocol(PICK))
        walk.failed("arm.pick", kind)  # type: ignore[arg-type]
        assert walk.hold == "arm.pick: no"


def test_without_a_delay_at_once() -> None:
    walk = Walk(protocol(PICK.replace(", delay: 5 s", "")))
    walk.done("arm.pick", **MISSED)
    assert [do.step_id for do in walk.orders.values()] == ["work:1/1~2"]


def test_a_condition_that_nobody_can_tell_holds_and_nothing_is_repeated_unasked() -> None:
    walk = Walk(protocol(PICK))
    walk.done("arm.pick", gripped=None, width=None)
    assert "picked.gripped" in walk.hold
    assert walk.machine.repeats == "arm.pick"


def test_a_delay_that_nobody_can_tell_after_a_rejection_may_go_on_with_the_same_step() -> None:
    walk = Walk(protocol(PICK.replace("delay: 5 s", "delay: =5 s if press.force < 1 kN else 1 s")))
    walk.see(press={"force": None})
    walk.failed("arm.pick", "rejected")
    assert "press.force" in walk.hold
    assert walk.machine.repeats is None
    walk.resume()
    assert walk.ordered == ["arm.pick"]


def test_a_rejection_alone_may_be_asked_for() -> None:
    walk = Walk(protocol(PICK.replace("not picked.gripped", "rejected")))
    walk.failed("arm.pick", "rejected")
    walk.wait(5)
    walk.done("arm.pick", **MISSED)
    assert walk.ended == "complete"


def test_each_step_has_tries_of_its_own() -> None:
    states = """\
  work:
    steps:
      - repeat: {times: 2}
        steps:
          - do: arm.move
            with: {position: home}
            retry: {times: 1}
    next: done
"""
    walk = Walk(protocol(states))
    for _ in range(2):
        walk.failed("arm.move")
        walk.done("arm.move", position="home")
    assert (walk.ended, len(walk.done_so_far)) == ("complete", 4)


def test_while_the_delay_passes_the_state_can_be_left() -> None:
    walk = Walk(protocol(PICK + "    watch: [{if: press.force > 1 kN, go: scrap}]\n"))
    walk.done("arm.pick", **MISSED)
    walk.see(press={"force": 2.0})
    assert (walk.ended, walk.cancelled) == ("scrapped", ["work:1/1+1"])


def test_mistakes_in_a_retry_are_told() -> None:
    for old, new, code in (
        (", if: not picked.gripped", "", "P311"),
        ("not picked.gripped", "press.force > 1 kN", "P311"),
        ("not picked.gripped", "picked.width", "P206"),
        ("not picked.gripped", "not picked.griped", "P205"),
        ("delay: 5 s", "delay: 5 kN", "P207"),
        ("times: 2", "times: 0", "P208"),
    ):
        assert code in {problem.code for problem in problems_of(protocol(PICK.replace(old, new)))}, new
    assert problems_of(protocol(PICK.replace("    catch: {rejected: scrap}\n", "    catch: {fault: scrap}\n"))) == []
