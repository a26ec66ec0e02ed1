"""A machine that is written down and read again goes on exactly as the one that was never interrupted."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labd.files.library import Library
from labd.protocol import Machine, bind_parameters, compiled, load
from labd.protocol.messages import (
    Answered,
    Ask,
    Command,
    Do,
    Done,
    Elapsed,
    End,
    Enter,
    Entered,
    Event,
    Expired,
    Failed,
    HoldRun,
    Resume,
    Sleep,
)
from tests.protocol.callees import CALLEES
from tests.protocol.fake import Fake
from tests.protocol.sound import SOUND
from tests.protocol.strategies import protocols
from tests.protocol.walk import OUTSIDE, RESULTS, again

PROTOCOL = load(SOUND)
PARAMETERS = bind_parameters(PROTOCOL, {})


def happening(command: Command, luck: st.DataObject) -> Event:
    """One of the things that may follow a command."""

    def one_of(*events: Event) -> Event:
        return luck.draw(st.sampled_from(events))

    match command:
        case Enter(state=state):
            return Entered(state)
        case Do(step_id=step, action=action):
            weak: dict[str, Any] = {"peak_force": 6.0, "volume": 1.0}
            good = RESULTS[action]
            results = (good, {name: weak.get(name, value) for name, value in good.items()}, dict.fromkeys(good))
            failures = [Failed(step, kind, "so it was") for kind in ("timeout", "rejected", "fault", "unreachable")]
            return one_of(*(Done(step, result) for result in results), *failures)  # type: ignore[arg-type]
        case Ask(step_id=step, choices=()):
            return Answered(step, value=luck.draw(st.floats(1, 6)), by="eva")
        case Ask(step_id=step, choices=choices):
            return one_of(Expired(step), *(Answered(step, choice, by="eva") for choice in choices))
        case Sleep(step_id=step):
            return Elapsed(step)
        case _:
            return one_of(Resume(), *(Resume(state) for state in PROTOCOL.states))


@given(st.data())
def test_restored_after_every_step_it_goes_the_same_way(luck: st.DataObject) -> None:
    whole = Machine(PROTOCOL, PARAMETERS)
    whole.update(OUTSIDE)
    broken = again(PROTOCOL, PARAMETERS, whole)
    commands = whole.start()
    assert broken.start() == commands
    for _ in range(25):
        broken = again(PROTOCOL, PARAMETERS, broken)
        assert broken.snapshot() == whole.snapshot()
        assert (broken.pending, broken.state, broken.held) == (whole.pending, whole.state, whole.held)
        assert whole.pending == (commands[-1],)
        if isinstance(commands[-1], End):
            return
        event = happening(commands[-1], luck)
        commands = whole.feed(event)
        assert broken.feed(event) == commands
        assert commands


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(protocols, st.integers(0, 2**32))
def test_the_same_for_all_that_the_language_has(text: str, seed: int) -> None:
    protocol = load(text, library=Library(CALLEES))
    Fake(protocol, compiled(protocol), random.Random(seed), twins=1.0).run()


def test_what_was_ordered_before_a_crash_is_ordered_with_the_same_values_after_it() -> None:
    whole = Machine(PROTOCOL, PARAMETERS)
    whole.update(OUTSIDE)
    whole.start()
    whole.feed(Entered("dose"))
    restored = again(PROTOCOL, PARAMETERS, whole)
    restored.update({"sample": {"id": "cell-1", "position": "somewhere/else", "home": ""}})
    assert restored.pending == whole.pending
    assert isinstance(restored.pending[0], Do)
    assert restored.pending[0].parameters["destination"] == "ot2/3/A1"


def test_a_snapshot_of_another_text_or_version_is_refused() -> None:
    taken = Machine(PROTOCOL, PARAMETERS).snapshot()
    with pytest.raises(ValueError, match="another text of dose_and_crimp"):
        Machine.restore(load(SOUND.replace("35 µL", "36 µL")), PARAMETERS, taken)
    with pytest.raises(ValueError, match="snapshots of version 2"):
        Machine.restore(PROTOCOL, PARAMETERS, {**taken, "snapshot": 0})


def test_a_hold_keeps_what_it_offers_over_a_crash() -> None:
    whole = Machine(PROTOCOL, PARAMETERS)
    whole.start()
    whole.feed(Entered("dose"))
    restored = again(PROTOCOL, PARAMETERS, whole)
    assert isinstance(restored.pending[0], HoldRun)  # `sample.position` had no value
    assert (restored.held, restored.state) == (True, "dose")
    assert isinstance(restored.feed(Resume())[-1], Do)
