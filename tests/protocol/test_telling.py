"""What `labd explain` says; `python -m tests.protocol.test_telling` makes the golden texts anew, to be read."""

from __future__ import annotations

import pytest

from labd.protocol import InputErrors, load
from labd.protocol.checker import compiled
from labd.protocol.views.telling import met, tell
from tests.protocol.sound import spoilt
from tests.protocol.told import DATA, FILES, protocol

GOLDEN = sorted(path.stem for path in DATA.glob("*.txt"))


def mini(states: str, more: str = "") -> str:
    return (
        "labd: 1\nprotocol: mini\nversion: 1.0.0\nroles: {press: crimper, arm: arm}\n"
        f"{more}start: first\nstates:\n{states}  done: {{end: complete}}\n"
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_the_text_is_as_it_was_read_and_found_good(name: str) -> None:
    assert tell(protocol(name)) == (DATA / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_every_state_is_told_once_and_no_line_is_too_long(name: str) -> None:
    told = protocol(name)
    text = tell(told, width=80)
    heads = [line for line in text.splitlines() if line[:1].isdigit()]
    ends = [name for name, state in told.states.items() if hasattr(state, "end")]
    assert len(heads) == len(told.states) - len(ends)
    assert all(f"\n  - {end}: " in text for end in ends)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\u00a0" not in text


def test_states_come_in_the_order_in_which_a_run_meets_them() -> None:
    text = mini("  last: {do: press.open, next: done}\n  first: {do: press.close, next: last}\n")
    assert met(compiled(load(text))) == ["first", "last", "done"]


def test_a_state_to_which_only_a_person_leads_comes_at_the_end() -> None:
    text = mini(
        "  first: {do: press.close, catch: {fault: {hold: look, continue_at: [second]}}, next: done}\n"
        "  second: {do: press.open, next: done}\n"
    )
    assert "2. second\n" in tell(load(text))


def test_times_and_material_are_told_where_they_are_known() -> None:
    text = tell(
        protocol("first_steps"),
        times={"": "11 min expected (10 min to 66 min)", "rest": "10 min expected"},
        material=["LP57 105 µL", "3 tips"],
    )
    assert "It uses LP57 105 µL and 3 tips.\nTime: 11 min expected (10 min to 66 min).\n" in text
    assert "1. rest" in text
    assert "   Time: 10 min expected.\n" in text


def test_an_action_without_words_of_its_own_is_told_by_its_summary() -> None:
    text = tell(load(mini("  first: {do: arm.home, next: done}\n")))
    assert "   The arm finds its axes' zero, and moves clear of everything.\n" in text


def test_what_the_words_leave_out_is_added() -> None:
    text = mini(
        "  first:\n    do: robot.transfer\n    next: done\n"
        "    with: {source: a/1, destination: b/2, volume: 5 µL, new_tip: never}\n"
    )
    text = text.replace("press: crimper", "robot: pipetting_robot")
    expected = "The robot (a pipetting robot) transfers 5 µL from a/1 to b/2, with new_tip = never.\n"
    assert expected in tell(load(text))


def test_a_protocol_that_does_not_hold_is_not_told() -> None:
    with pytest.raises(InputErrors):
        tell(load(spoilt("press.crimp", "press.crmp")))


if __name__ == "__main__":
    for one in GOLDEN:
        (DATA / f"{one}.txt").write_text(tell(protocol(one)), encoding="utf-8")
