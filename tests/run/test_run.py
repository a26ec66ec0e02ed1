"""Runs: what happens to a cell, what is journaled, and who is asked when nobody knows."""

from __future__ import annotations

import asyncio

import pytest

from labd import clock
from labd.run.lifecycle import Command, CommandRefusedError
from labd.sdk import Fault, Outcome, OutcomeUnknown, Rejected, Unreachable, Verdict
from labd.sdk.roles import CrimpResult
from tests.run.conftest import ASSEMBLE, BenchMaker
from tests.run.waiting import until, until_asked


async def test_a_cell_is_built_and_measured(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        state = await lab.engine.wait(run)
        assert (state.state, state.outcome) == ("Complete", "complete")
        assert await lab.packml(run) == ["Starting", "Execute", "Completing", "Complete"]
        entered = [event.data["state"] for event in await lab.events(run, "protocol.entered")]
        assert entered == ["to_press", "crimp", "to_stat", "rest"]
        moved = [event.data["to"] for event in await lab.events(run, "sample.moved")]
        assert moved == ["tray/cells/A1", "arm/gripper", "press/nest", "arm/gripper", "stat1/cell"]
        assert lab.lab.places.sample_at("stat1/cell") == "cell-0001"


async def test_each_action_is_intended_before_it_is_sent_and_settled_once(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        await lab.engine.wait(run)
        seen: dict[str, list[str]] = {}
        for event in await lab.events(run, "action.intended", "action.sent", "action.accepted", "action.done"):
            seen.setdefault(event.data["action_id"], []).append(event.kind.partition(".")[2])
        assert len(seen) == 7
        assert all(kinds[:2] == ["intended", "sent"] and kinds[-1] == "done" for kinds in seen.values())
        intended = await lab.events(run, "action.intended")
        crimp = next(event.data for event in intended if event.data["action"] == "crimp")
        assert crimp["parameters"]["force"] == {"v": 7.8, "u": "kN"}
        assert crimp["effect"] == "once"


async def test_rows_stream_into_the_signal_store(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        await lab.engine.wait(run)
        (series,) = await lab.engine.signals.series(run=run)
        data = await lab.engine.signals.read(series.id)
        assert list(data["time"])[:3] == [0.0, 60.0, 120.0]
        assert len(data["voltage"]) == 60


async def test_hold_leaves_a_once_action_to_its_outcome_and_starts_nothing_new(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [30.0]
        run = await lab.start()
        while lab.lab.devices["press"].busy_with == () or "place" not in lab.toy("arm").happened:
            await asyncio.sleep(0.5)
        await asyncio.sleep(2)
        await lab.engine.command(run, Command.HOLD, by="eva")
        assert (await lab.engine.state(run)).state == "Holding"
        await asyncio.sleep(600)
        assert (await lab.engine.state(run)).state == "Held"
        assert lab.toy("press").happened[-1] == "crimp"
        assert (await lab.engine.state(run)).protocol_state in ("crimp", "to_stat")
        assert lab.toy("arm").happened == ["pick", "place"]
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert lab.toy("press").happened.count("crimp") == 1


async def test_a_weak_crimp_is_asked_about_and_the_answer_decides(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").force = 5.0  # type: ignore[attr-defined]
        run = await lab.start()
        question = await until_asked(lab, run)
        assert question["text"] == "The press reached only 5 kN. Is the cell sound?"
        with pytest.raises(CommandRefusedError, match="'perhaps' is none of: keep it, scrap it"):
            await lab.engine.answer(run, "perhaps", by="eva")
        await lab.engine.answer(run, "scrap it", by="eva")
        assert (await lab.engine.wait(run)).outcome == "scrapped"
        (answered,) = await lab.events(run, "question.answered")
        assert (answered.data["choice"], answered.data["by"]) == ("scrap it", "eva")


async def test_a_question_that_nobody_answers_goes_its_otherwise(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").force = 5.0  # type: ignore[attr-defined]
        run = await lab.start()
        await until_asked(lab, run)
        start = clock.monotonic()
        assert (await lab.engine.wait(run)).outcome == "scrapped"
        assert clock.monotonic() - start == pytest.approx(1800, abs=5)


class TestUnknownOutcome:
    """A reply that is lost after the order was sent."""

    async def test_holds_and_asks_and_goes_on_when_it_was_done(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [("after", OutcomeUnknown("no reply"))]
            run = await lab.start()
            question = await until_asked(lab, run)
            await until(lab, run, "Held")
            assert question["choices"] == ["done", "not done", "scrap"]
            assert "press.crimp" in str((await lab.engine.state(run)).cause)
            assert len(lab.toy("press").asked) == 3
            with pytest.raises(CommandRefusedError, match="asks for a choice: say one of: done, not done, scrap"):
                await lab.engine.answer(run, "", value="5", by="eva")
            with pytest.raises(CommandRefusedError, match="answer first"):
                await lab.engine.command(run, Command.UNHOLD, by="eva")
            told = await lab.engine.answer(run, "done", by="eva")
            assert (told.state, told.cause) == ("Held", f"settled; `labd unhold {run}` goes on")
            await asyncio.sleep(100)
            assert (await lab.engine.state(run)).state == "Held"
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            await asyncio.sleep(10)
            # the peak force is not known: the protocol's condition over it cannot be decided, and says so
            state = await lab.engine.state(run)
            assert state.state == "Held"
            assert "peak_force" in str(state.cause)
            await lab.engine.command(run, Command.UNHOLD, by="eva", at="to_stat")
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert lab.toy("press").happened.count("crimp") == 1

    async def test_orders_it_again_only_when_a_person_says_not_done(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [OutcomeUnknown("no reply")]
            run = await lab.start()
            await until_asked(lab, run)
            await until(lab, run, "Held")
            await lab.engine.answer(run, "not done", by="eva")
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).outcome == "complete"
            crimps = [e for e in await lab.events(run, "action.intended") if e.data["action"] == "crimp"]
            assert len(crimps) == 2
            (settled,) = await lab.events(run, "action.reconciled")
            assert (settled.data["verdict"], settled.data["by"]) == ("not_done", "eva")

    async def test_ends_scrapped_when_a_person_says_so(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [OutcomeUnknown("no reply")]
            run = await lab.start()
            await until_asked(lab, run)
            await until(lab, run, "Held")
            await lab.engine.answer(run, "scrap", by="eva")
            state = await lab.engine.wait(run)
            assert (state.state, state.outcome) == ("Stopped", "scrapped")
            assert lab.lab.places.sample_at("press/nest") == "cell-0001"  # it lies there until somebody takes it out

    async def test_the_device_itself_may_know_that_it_was_done(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [("after", OutcomeUnknown("no reply"))]
            result = CrimpResult(peak_force=7.7, dwell=2.0, displacement=1.0, cycles=1)
            lab.toy("press").verdict = Outcome(Verdict.DONE, "its counter moved by one", result)
            run = await lab.start()
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert lab.toy("press").happened.count("crimp") == 1
            (settled,) = await lab.events(run, "action.reconciled")
            assert settled.data["by"] == "device"

    async def test_the_device_may_prove_that_nothing_happened(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [OutcomeUnknown("no reply")]
            lab.toy("press").verdict = Outcome(Verdict.NOT_DONE, "its counter did not move")
            run = await lab.start()
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert lab.toy("press").happened.count("crimp") == 1


async def test_what_was_not_sent_is_tried_again(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [Unreachable("refused"), Unreachable("refused")]
        run = await lab.start()
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert lab.toy("press").happened.count("crimp") == 1


async def test_a_refused_action_holds_the_run_with_its_cause(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [Rejected("the guard is open")]
        run = await lab.start()
        await until(lab, run, "Held")
        assert "press.crimp: the guard is open" in str((await lab.engine.state(run)).cause)
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_a_fault_makes_the_device_safe_and_asks_what_became_of_the_cell(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [Fault("E-stop")]
        run = await lab.start()
        await until_asked(lab, run)
        assert lab.toy("press").safe == [None]
        await until(lab, run, "Held")


async def test_stop_ends_a_long_measurement_in_order(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        while "crimp" not in lab.toy("press").happened or lab.lab.devices["stat1"].busy_with == ():
            await asyncio.sleep(1)
        await lab.engine.command(run, Command.STOP, by="eva")
        state = await lab.engine.wait(run)
        assert (state.state, state.outcome) == ("Stopped", "stopped")
        assert lab.toy("stat1").safe == [None]


async def test_abort_makes_safe_at_once_and_clear_gives_the_place_back(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [1000.0]
        run = await lab.start()
        while "place" not in lab.toy("arm").happened:
            await asyncio.sleep(0.5)
        await asyncio.sleep(3)
        start = clock.monotonic()
        await lab.engine.command(run, Command.ABORT, by="eva")
        state = await lab.engine.wait(run)
        assert clock.monotonic() - start < 1
        assert (state.state, state.outcome) == ("Aborted", "aborted")
        assert lab.toy("press").safe == [None]
        assert [event.data["message"] for event in await lab.events(run, "action.unknown")] == ["the run was aborted"]
        assert lab.lab.places.sample_at("press/nest") == "cell-0001"
        assert (await lab.engine.command(run, Command.CLEAR, by="eva")).state == "Stopped"
        assert lab.lab.places.sample_at("press/nest") is None


async def test_two_runs_share_the_devices_and_never_a_place(bench: BenchMaker) -> None:
    async with bench() as lab:
        first = await lab.start(position="tray/cells/A1")
        second = await lab.start(position="tray/cells/B1")
        third = await lab.start(position="tray/cells/A2")
        assert (await lab.engine.wait(first)).outcome == "complete"
        assert (await lab.engine.wait(second)).outcome == "complete"
        await asyncio.sleep(3600)
        # both channels are full: the third cell waits in the press, and its run says why
        state = await lab.engine.state(third)
        assert lab.lab.places.sample_at("press/nest") == state.sample
        assert state.cause is not None
        assert "stat1 holds cell-0001" in state.cause
        await lab.engine.command(first, Command.CLEAR, by="eva")
        assert (await lab.engine.wait(third)).outcome == "complete"
        assert lab.lab.places.sample_at("stat1/cell") == state.sample


async def test_within_stands_still_while_the_run_is_held(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["open"] = [15.0]  # of the 20 s that it may take
        run = await lab.start()
        await asyncio.sleep(10)
        await lab.engine.command(run, Command.HOLD, by="eva")
        await asyncio.sleep(100)
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_a_restart_knows_the_runs_and_places_of_before(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        while "crimp" not in lab.toy("press").happened:
            await asyncio.sleep(1)
    async with bench() as lab:
        assert (await lab.engine.state(run)).ended is None
        assert lab.lab.places.place_of("cell-0001") is not None
        again = await lab.start(position="tray/cells/B1")
        assert again != run


async def test_a_protocol_that_does_not_hold_starts_nothing(bench: BenchMaker) -> None:
    from labd.protocol import InputErrors

    async with bench() as lab:
        with pytest.raises(InputErrors, match="forse"):
            await lab.start(ASSEMBLE.replace("{force: =force}", "{force: =forse}"))
        with pytest.raises(InputErrors, match="kN"):
            await lab.start(force="12 kN")
        assert await lab.engine.states() == []


MEASURE = """\
labd: 1
protocol: measure
version: 1.0.0
summary: Ask for a force, and crimp with it.
roles: {press: crimper}
start: ask
states:
  ask:
    summary: Ask.
    ask: What force does the gauge show?
    input: {type: quantity, min: 1 kN, max: 10 kN}
    as: gauge
    next: crimp
  crimp:
    summary: Press.
    do: press.crimp
    with: {force: =gauge.value}
    next: done
  done: {end: complete}
"""


async def test_a_typed_answer_is_taken_with_its_unit_and_within_its_bounds(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(MEASURE)
        await until_asked(lab, run)
        for value, told in ((None, "a value is asked for"), (5.0, "needs a unit"), ("5", "needs a unit")):
            with pytest.raises(CommandRefusedError, match=told):
                await lab.engine.answer(run, "", value=value, by="eva")
        for value, told in (("5 µL", "µL is a volume"), ("12 kN", "above the greatest, 10 kN")):
            with pytest.raises(CommandRefusedError, match=told):
                await lab.engine.answer(run, "", value=value, by="eva")
        await lab.engine.answer(run, "", value="5000 N", by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"
        (crimp,) = await lab.events(run, "action.intended")
        assert crimp.data["parameters"]["force"] == {"v": 5.0, "u": "kN"}
