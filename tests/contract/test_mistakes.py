"""The contract bites: mistakes that drivers really have, planted in a toy, are told, each by the clause for it."""

from __future__ import annotations

import itertools
import json
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from labd.scaffold import new_driver
from labd.testing import CHECKS, subject

_NUMBERS = itertools.count()

TWICE = """\
        try:
            await self._order(number, verb, values)
        except OutcomeUnknown:
            await self._order(number, verb, values)
"""
DEAF = """\
            try:
                await asyncio.sleep(LOOK)
            except asyncio.CancelledError:
                pass
"""
STUBBORN = """\
        for _ in range(3):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
        return (await self._state()).signals"""
GUESS = """\
        try:
            return (await self._state()).signals
        except OutcomeUnknown:
            return self.Signals(position=-1.0, busy=False)"""
LEAK = "        self.kept = [*getattr(self, 'kept', []), object()]\n        return (await self._state()).signals\n"

MISTAKES = {
    "an order is sent again when its reply is lost": (
        "a_once_frame_goes_out_once_when_its_reply_is_lost",
        "        await self._order(number, verb, values)\n",
        TWICE,
        "was sent 2 times",
    ),
    "what is not known is called done": (
        "outcome_tells_done_from_not_done",
        'return Outcome(Verdict.NOT_DONE, "it has taken no order since")',
        'return Outcome(Verdict.DONE, "surely")',
        "its effect is none, and its outcome done",
    ),
    "what was done is called not done": (
        "outcome_tells_done_from_not_done",
        "return self._verdict(intent, state)",
        'return Outcome(Verdict.NOT_DONE, "surely not")',
        "and its outcome is not_done",
    ),
    "an answer that cannot be read raises what is no DeviceError": (
        "read_state_stands_a_hostile_link",
        "except ValidationError as error:",
        "except ZeroDivisionError as error:",
        "no DeviceError",
    ),
    "a poll waits for ever": (
        "read_state_stands_a_hostile_link",
        "        return (await self._state()).signals",
        STUBBORN,
        "read_state hangs",
    ),
    "a guess is told where no answer comes": (
        "read_state_stands_a_hostile_link",
        "        return (await self._state()).signals",
        GUESS,
        "on a wire that is silent position is -1",
    ),
    "an action goes on though it was cancelled": (
        "a_cancelled_action_leaves_link_and_device_known",
        "            await asyncio.sleep(LOOK)\n",
        DEAF,
        "goes on 10 s after it was cancelled",
    ),
    "to end nothing is said to be done": (
        "a_cancelled_action_leaves_link_and_device_known",
        "    # ── after the fact",
        "    async def cancel(self, action_id: str) -> None:\n        pass\n\n    # ── after the fact",
        "must be Rejected",
    ),
    "silence is taken for a device": (
        "connecting_to_nothing_is_told",
        "        try:\n            state = await self._state()\n",
        "        return About()\n        try:\n            state = await self._state()\n",
        "as if it were connected",
    ),
    "closing raises": (
        "closing_is_harmless",
        "        await self._link.close()\n\n    async def read_state",
        "        await self._state()\n        await self._link.close()\n\n    async def read_state",
        ".",
    ),
    "it can be made safe once": (
        "safe_state_may_be_called_at_any_time",
        "        await self._stop()\n",
        "        assert not hasattr(self, 'safe'), 'twice'\n        self.safe = True\n        await self._stop()\n",
        "twice",
    ),
    "each poll leaves something behind": (
        "many_polls_leave_nothing_behind",
        "        return (await self._state()).signals\n",
        LEAK,
        "blocks of memory behind",
    ),
    "a setting without a unit": (
        "every_number_has_a_unit",
        "    address: str\n",
        "    address: str\n    speed: float = 1.0\n",
        "settings.speed",
    ),
    "an undocumented setting": (
        "everything_is_documented",
        "    address: str\n",
        "    address: str\n    loud: bool = True\n",
        "settings loud",
    ),
    "a time limit without an end": (
        "every_action_has_an_effect_and_a_time_limit",
        "    async def aspirate(",
        '    @action(timeout=float("inf"))\n    async def aspirate(',
        "its time limit is inf",
    ),
    "a grade that is not earned": (
        "its_quality_is_as_it_says",
        'Quality("simulated")',
        'Quality("recorded")',
        "no transcript is of a recording",
    ),
    "another word on the wire than was recorded": (
        "transcripts_replay_on_the_driver",
        'self._ask("state")',
        'self._ask("state ")',
        "was to be sent",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_told(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labd.testing.soak.POLLS", 1500)
    clause, good, bad, words = MISTAKES[mistake]
    name = f"mistaken{next(_NUMBERS)}"
    written = new_driver(name, "tcp", "pump", tmp_path)
    text = written.files[0].read_text()
    assert good in text
    text = text.replace(good, bad, 1).replace("    Verdict,\n)", "    Verdict,\n    action,\n)")
    written.files[0].write_text(text)
    simulator = written.files[1].read_text()
    written.files[1].write_text(simulator.replace("RATE = 100.0", "RATE = 8.0"))  # so that there is a long middle
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    toy = subject(written.reference, f"labd_{name}.simulator:SIMULATOR", tmp_path / "tests" / "transcripts")
    (check,) = (one for one in CHECKS if one.name == clause)
    (tmp_path / "bench").mkdir()
    with pytest.raises(Exception, match=words):
        check.hold(toy, tmp_path / "bench")


def test_a_simulator_that_says_something_else_than_was_recorded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = new_driver("untrue", "tcp", "pump", tmp_path)
    simulator = written.files[1]
    simulator.write_text(simulator.read_text().replace('"busy": self.busy', '"busy": None'))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    toy = subject(written.reference, "labd_untrue.simulator:SIMULATOR", tmp_path / "tests" / "transcripts")
    (check,) = (one for one in CHECKS if one.name == "transcripts_replay_on_the_simulator")
    (tmp_path / "bench").mkdir()
    with pytest.raises(AssertionError, match="unlike"):
        check.hold(toy, tmp_path / "bench")


@pytest.mark.parametrize(
    "clause", ["a_once_frame_goes_out_once_when_its_reply_is_lost", "outcome_tells_done_from_not_done"]
)
def test_a_simulator_that_does_not_show_what_was_done_is_told(
    clause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = new_driver("shy", "tcp", "pump", tmp_path)
    simulator = written.files[1]
    text = simulator.read_text().replace("effect=lambda simulator: simulator.thing.effect()", "effect=lambda _: {}")
    simulator.write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    toy = subject(written.reference, "labd_shy.simulator:SIMULATOR", tmp_path / "tests" / "transcripts")
    (check,) = (one for one in CHECKS if one.name == clause)
    (tmp_path / "bench").mkdir()
    with pytest.raises(AssertionError, match="shows nowhere"):
        check.hold(toy, tmp_path / "bench")


@pytest.mark.parametrize("problem", [None, "no recording is played"])
def test_a_recording_that_nobody_plays_earns_no_grade(
    problem: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"graded{next(_NUMBERS)}"
    written = new_driver(name, "tcp", "pump", tmp_path)
    driver, _, _, transcript, *_ = written.files
    driver.write_text(driver.read_text().replace('Quality("simulated")', 'Quality("recorded")'))
    first, *rest = transcript.read_text().splitlines()
    origin = {**json.loads(first), "recorded": True, "version": "1.0", **({"calls": []} if problem else {})}
    transcript.write_text("\n".join([json.dumps(origin), *rest]))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    toy = subject(written.reference, f"labd_{name}.simulator:SIMULATOR", tmp_path / "tests" / "transcripts")
    (check,) = (one for one in CHECKS if one.name == "its_quality_is_as_it_says")
    with pytest.raises(AssertionError, match=problem) if problem else nullcontext():
        check.hold(toy, tmp_path)
