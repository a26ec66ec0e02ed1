"""A device's word is not enough where its signals tell otherwise: a person is asked, with what the device gave."""

from __future__ import annotations

from typing import Any

import pytest

from labd.sdk import Call, Outcome, OutcomeUnknown, Unreachable, Verdict
from labd.sdk.roles import CrimpResult
from tests.run.conftest import BenchMaker
from tests.run.waiting import until_asked
from tests.toys import Toy


def after(toy: Toy, name: str, then: Any) -> None:
    """Does something as soon as a toy has done an action."""
    real = toy.act

    async def act(call: Call, done: str) -> None:
        await real(call, done)
        if done == name:
            then()

    toy.act = act  # type: ignore[method-assign]


async def test_a_counter_that_does_not_move_is_no_crimp_whatever_the_press_says(bench: BenchMaker) -> None:
    async with bench() as lab:
        press = lab.toy("press")
        press.reads["cycles"] = 41
        press.verdict = Outcome(Verdict.DONE, "the same word again")
        run = await lab.start()
        question = await until_asked(lab, run)
        assert question["kind"] == "outcome"
        assert "no evidence, though the device calls it done: its cycle counter went from 41 to 41" in question["text"]
        assert press.asked == []  # what it would say is known
        (intended,) = [one for one in await lab.events(run, "action.intended") if one.data["action"] == "crimp"]
        assert intended.data["baseline"]["evidence"]["signals"]["cycles"] == 41
        await lab.engine.answer(run, "done", by="eva")
        (settled,) = await lab.events(run, "action.reconciled")
        assert settled.data["verdict"] == "done"
        assert settled.data["result"]["peak_force"]["v"] == 7.8  # the device's own result is kept
        assert lab.toy("press").happened.count("crimp") == 1


async def test_no_force_is_no_crimp(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").force = 0.0  # type: ignore[attr-defined]
        run = await lab.start()
        assert "its force never rose" in (await until_asked(lab, run))["text"]


async def test_a_force_that_falls_short_is_for_the_protocol(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").force = 3.0  # type: ignore[attr-defined]
        run = await lab.start()
        assert (await until_asked(lab, run))["kind"] == "protocol"


@pytest.mark.parametrize(("force", "against"), [(None, "its peak force cannot be read"), (1.5, "its force never rose")])
async def test_a_broken_force_sensor_is_no_evidence(bench: BenchMaker, force: float | None, against: str) -> None:
    async with bench() as lab:
        lab.toy("press").force = force  # type: ignore[attr-defined]
        assert against in (await until_asked(lab, await lab.start()))["text"]


async def test_what_a_device_cannot_tell_is_not_asked_for(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").reads |= {"cycles": None, "force": None}
        lab.toy("press").force = None  # type: ignore[attr-defined]
        lab.toy("arm").reads["gripped"] = None
        run = await lab.start(source=ANYTHING)
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_signals_that_cannot_be_read_after_it_are_no_evidence(bench: BenchMaker) -> None:
    async with bench() as lab:
        press = lab.toy("press")
        after(press, "crimp", lambda: setattr(press, "refuse_poll", OutcomeUnknown("no reading")))
        run = await lab.start()
        assert "its signals could not be read after it: no reading" in (await until_asked(lab, run))["text"]


async def test_a_moment_without_a_reading_after_it_is_borne(bench: BenchMaker) -> None:
    async with bench() as lab:
        press = lab.toy("press")
        real, misses = press.read_state, [OutcomeUnknown("no reading")] * 2

        async def read() -> Any:
            if "crimp" in press.happened and misses:
                raise misses.pop()
            return await real()

        press.read_state = read  # type: ignore[method-assign]
        run = await lab.start()
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_signals_that_cannot_be_read_before_it_mean_that_it_is_not_ordered(bench: BenchMaker) -> None:
    async with bench() as lab:
        press = lab.toy("press")
        real, misses = press.read_state, [Unreachable("nobody there"), OutcomeUnknown("no reading")]

        async def read() -> Any:
            if "open" in press.happened and misses:
                raise misses.pop()
            return await real()

        press.read_state = read  # type: ignore[method-assign]
        run = await lab.start()
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert press.happened.count("crimp") == 1
        assert await lab.events(run, "action.unknown") == []


async def test_the_word_of_a_device_that_is_asked_later_needs_its_evidence_too(bench: BenchMaker) -> None:
    async with bench() as lab:
        press = lab.toy("press")
        press.reads["cycles"] = 7
        press.script["crimp"] = [("after", OutcomeUnknown("no reply"))]
        press.verdict = Outcome(
            Verdict.DONE, "it says so", CrimpResult(peak_force=7.8, dwell=2.0, displacement=1.0, cycles=8)
        )
        run = await lab.start()
        question = await until_asked(lab, run)
        assert "it says so; no evidence" in question["text"]
        assert press.asked


@pytest.mark.parametrize(("does", "told"), [("pick", "its gripper holds nothing"), ("place", "still holds a part")])
async def test_a_gripper_that_says_otherwise_is_no_evidence(bench: BenchMaker, does: str, told: str) -> None:
    async with bench() as lab:
        arm = lab.toy("arm")
        after(arm, does, lambda: arm.reads.__setitem__("gripped", does == "place"))
        run = await lab.start()
        assert told in (await until_asked(lab, run))["text"]


ANYTHING = """\
labd: 1
protocol: anything
version: 1.0.0
summary: Carry and press.
roles: {press: crimper, arm: arm}
start: all
states:
  all:
    summary: All of it.
    steps:
      - do: arm.pick
        with: {place: =sample.position}
      - do: arm.place
        with: {place: =press.place}
      - do: press.crimp
        with: {force: 7.8 kN}
    next: done
  done: {end: complete}
"""
