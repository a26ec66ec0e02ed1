"""Any protocol over the real engine, with devices that fail, and an operator who holds and goes on at random."""

from __future__ import annotations

import asyncio
import random

import pytest

from labd.run.lifecycle import Command, CommandRefusedError
from labd.sdk import Fault, Outcome, OutcomeUnknown, Rejected, Unreachable, Verdict
from tests.protocol.callees import CALLEES
from tests.protocol.strategies import Maker
from tests.run.conftest import Bench, BenchMaker
from tests.toys import Toy
from tests.whole import some

NEVER = frozenset({"constant_current", "constant_voltage", "cycle", "cyclic_voltammetry", "impedance"})
"""What toys refuse to do."""
KINDS = {"press": "crimper", "arm": "arm", "cycler": "potentiostat"}
ACTIONS = ("open", "close", "crimp", "home", "pick", "place", "move", "cell_off")
OUTCOMES = frozenset({"action.done", "action.failed", "action.reconciled"})
PATIENCE = 60
"""So many things the operator does before the run is stopped."""


def _trouble(toy: Toy, luck: random.Random) -> None:
    for action in ACTIONS:
        toy.script[action] = [_one(luck) for _ in range(40)]
    toy.verdict = Outcome(luck.choice((Verdict.UNKNOWN, Verdict.NOT_DONE)), "so it says")


def _one(luck: random.Random) -> object:
    if luck.random() < 0.9:
        return luck.uniform(0.1, 25.0)
    after = ("after", OutcomeUnknown("no reply"))
    return luck.choice((Rejected("no"), Fault("E-stop"), Unreachable("no link"), OutcomeUnknown("no reply"), after))


async def _operate(lab: Bench, run: str, luck: random.Random) -> None:
    """What an operator does until the run has ended."""
    for count in range(PATIENCE * 2):
        await asyncio.sleep(luck.uniform(0.1, 90.0))
        for name in ("press", "arm", "stat1"):
            lab.toy(name).reads = {"voltage": luck.uniform(0, 6)} if name == "stat1" else {}
        lab.toy("press").reads = {"force": luck.uniform(0, 9), "guard_closed": luck.random() < 0.5}
        state = await lab.engine.state(run)
        if state.ended is not None:
            return
        try:
            if count >= PATIENCE:
                await lab.engine.command(run, Command.ABORT if count > PATIENCE else Command.STOP, by="eva")
            elif state.question is not None:
                await _answer(lab, run, dict(state.question), luck)
            elif state.state == "Held":
                at = luck.choice((*(None,) * 8, "scrap", state.protocol_state))
                await lab.engine.command(run, Command.UNHOLD, by="eva", at=at)
            elif luck.random() < 0.15:
                await lab.engine.command(run, Command.HOLD, by="eva")
        except CommandRefusedError:
            pass  # it says why; the next thing is another one
    raise AssertionError(f"{run} does not end: {await lab.engine.state(run)}")


async def _answer(lab: Bench, run: str, question: dict[str, object], luck: random.Random) -> None:
    choices, asked = list(question["choices"]), question["input"]  # type: ignore[call-overload]
    values = {"quantity": "3 g", "integer": 3, "boolean": True, "text": "fine", "choice": "fine"}
    value = values[asked["type"]] if isinstance(asked, dict) else None
    await lab.engine.answer(run, luck.choice(choices) if choices else "", value=value, by="eva")


@pytest.mark.parametrize("seed", range(some(8, 20)))
async def test_it_ends_and_its_journal_is_whole(bench: BenchMaker, seed: int) -> None:
    luck = random.Random(seed)
    text = Maker(luck, size=3, kinds=KINDS, never=NEVER).text().replace("tray/", "tray/cells/")
    async with bench() as lab:
        for name in ("press", "arm", "stat1", "stat2"):
            _trouble(lab.toy(name), luck)
        run = await lab.start(text, called=CALLEES)
        await _operate(lab, run, luck)
        state = await lab.engine.wait(run)
        assert state.outcome in ("complete", "scrapped", "stopped", "aborted")
        await _check_journal(lab, run)


async def _check_journal(lab: Bench, run: str) -> None:
    """labd itself did not fail; every action has one outcome, and no step was done twice."""
    events = await lab.events(run)
    failed = [event.data for event in events if event.kind == "run.failed"]
    assert failed == []
    ended: dict[str, list[str]] = {event.data["action_id"]: [] for event in events if event.kind == "action.intended"}
    for event in events:
        if event.kind in OUTCOMES:
            ended[event.data["action_id"]].append(event.kind)
    unknown = {event.data["action_id"] for event in events if event.kind == "action.unknown"}
    after_a_fault = ["action.failed", "action.reconciled"]  # it may have been done all the same: a person says
    wrong = {
        action: kinds
        for action, kinds in ended.items()
        if len(kinds) != 1 and kinds != after_a_fault and not (action in unknown and not kinds)
    }
    assert wrong == {}
    steps = {event.data["action_id"]: event.data["step"] for event in events if event.kind == "action.intended"}
    done = [steps[event.data["action_id"]] for event in events if event.kind == "action.done"]
    assert len(set(done)) == len(done)
    assert [event.kind for event in events].count("run.ended") == 1
