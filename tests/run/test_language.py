"""The language at work on devices: branches, watches, waits, calls, retries and questions over engine and journal."""

from __future__ import annotations

import asyncio

import pytest

from labd import clock
from labd.run.lifecycle import Command, CommandRefusedError
from labd.sdk import Fault, Rejected, Unreachable
from tests.run.conftest import BenchMaker
from tests.run.waiting import until, until_asked, until_busy

HEAD = """\
labd: 1
protocol: assemble
version: 1.0.0
roles: {press: crimper, arm: arm, stat: potentiostat}
start: work
"""
ENDS = {"done": "complete", "scrap": "scrapped"}


def protocol(states: str, more: str = "") -> str:
    ends = "".join(f"  {name}: {{end: {outcome}}}\n" for name, outcome in ENDS.items() if name in states + more)
    return f"{HEAD}{more}states:\n{states}{ends}"


BRANCHES = """\
  work:
    parallel:
      press:
        - do: press.crimp
          with: {force: 5 kN}
          as: pressed
      arm:
        - do: arm.home
        - do: arm.home
    catch: {rejected: scrap}
    next: done
"""


class TestParallel:
    async def test_branches_are_done_at_the_same_time(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [30.0]
            start = clock.monotonic()
            run = await lab.start(protocol(BRANCHES))
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert 30 <= clock.monotonic() - start < 31
            assert await lab.happened(run, "done") == ["done arm.home", "done arm.home", "done press.crimp"]

    async def test_one_that_fails_leaves_a_crimp_to_its_outcome(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [30.0]
            lab.toy("arm").script["home"] = [1.0, Rejected("the door is open")]  # once the press is at it
            run = await lab.start(protocol(BRANCHES))
            assert (await lab.engine.wait(run)).outcome == "scrapped"
            assert lab.toy("press").happened == ["crimp"]
            assert lab.toy("press").safe == []
            told = await lab.happened(run, "left", "cancelled", "done")
            assert told == ["done arm.home", "left press.crimp", "done press.crimp"]

    async def test_a_hold_starts_nothing_new_in_any_branch_and_unhold_goes_on_in_all(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [10.0]
            lab.toy("arm").script["home"] = [5.0]
            run = await lab.start(protocol(BRANCHES))
            await until_busy(lab, "press")
            await lab.engine.command(run, Command.HOLD, by="eva")
            await until(lab, run, "Held")
            await asyncio.sleep(600)
            assert (lab.toy("press").happened, lab.toy("arm").happened) == (["crimp"], ["home"])
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert lab.toy("arm").happened == ["home", "home"]

    async def test_who_lets_it_go_on_is_told_of_all_branches_that_failed(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [Rejected("the guard is open")]
            lab.toy("arm").script["home"] = [Rejected("a joint is stiff")]
            run = await lab.start(protocol(BRANCHES.replace("    catch: {rejected: scrap}\n", "")))
            await until(lab, run, "Held")
            await asyncio.sleep(5)
            cause = (await lab.engine.state(run)).cause or ""
            assert "; " in cause
            assert "the guard is open" in cause
            assert "a joint is stiff" in cause
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).cause is None

    async def test_a_branch_that_fails_holds_the_run_while_the_other_ends(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [30.0]
            lab.toy("arm").script["home"] = [Fault("E-stop")]
            run = await lab.start(protocol(BRANCHES))
            await until(lab, run, "Held")
            assert "arm.home: " in str((await lab.engine.state(run)).cause)
            assert lab.toy("press").happened == ["crimp"]
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert lab.toy("press").happened == ["crimp"]
            assert lab.toy("arm").happened == ["home", "home"]

    async def test_unhold_at_a_state_goes_on_there_when_the_other_branch_has_its_outcome(
        self, bench: BenchMaker
    ) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [50.0]
            lab.toy("arm").script["home"] = [Fault("E-stop")]
            run = await lab.start(protocol(BRANCHES))
            await until(lab, run, "Holding")
            await until(lab, run, "Held")
            await lab.engine.command(run, Command.UNHOLD, by="eva", at="scrap")
            assert (await lab.engine.wait(run)).outcome == "scrapped"
            assert lab.toy("press").happened == ["crimp"]


ASKS = """\
  work:
    parallel:
      one:
        - ask: How heavy is it?
          input: {type: quantity, min: 1 g, max: 5 g}
          as: heavy
      two:
        - ask: How thick is it?
          input: {type: quantity, min: 1 mm, max: 5 mm}
          as: thick
    next: [{if: heavy.value > 2 g and thick.value < 2 mm, go: done}, {go: scrap}]
"""


async def test_two_questions_are_put_one_after_the_other(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(protocol(ASKS))
        assert (await until_asked(lab, run))["text"] == "How heavy is it?"
        await lab.engine.answer(run, "", value="3 g", by="eva")
        await asyncio.sleep(1)
        assert (await until_asked(lab, run))["text"] == "How thick is it?"
        with pytest.raises(CommandRefusedError):
            await lab.engine.answer(run, "", value="3 g", by="eva")
        await lab.engine.answer(run, "", value="1500 µm", by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"


FORM = """\
  work:
    do: stat.open_circuit
    with: {duration: 1 h, interval: 60 s}
    as: rested
    watch: [{if: stat.voltage < 1 V, for: 30 s, go: look}]
    next: done
  look:
    ask: Keep it?
    choices: {keep: done, scrap: scrap}
"""


class TestWatch:
    async def test_it_ends_a_measurement_and_its_partial_result_counts(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(protocol(FORM))
            await until_busy(lab, "stat1")
            await asyncio.sleep(600)
            lab.toy("stat1").reads["voltage"] = 0.5
            question = await until_asked(lab, run)
            assert question["text"] == "Keep it?"
            assert await lab.happened(run, "cancelled", "done") == [
                "cancelled stat.open_circuit",
                "done stat.open_circuit",
            ]
            assert lab.toy("stat1").safe == []
            rested = lab.engine._runs[run].machine.results["rested"]
            assert rested["final_voltage"] == 3.1
            (entered,) = [e for e in await lab.events(run, "protocol.entered") if e.data["state"] == "look"]
            assert "stat.voltage < 1 V" in entered.data["because"]
            await lab.engine.answer(run, "keep", by="eva")
            assert (await lab.engine.wait(run)).outcome == "complete"

    async def test_what_lasts_too_short_changes_nothing(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(protocol(FORM))
            await until_busy(lab, "stat1")
            lab.toy("stat1").reads["voltage"] = 0.5
            await asyncio.sleep(20)
            lab.toy("stat1").reads.clear()
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert await lab.happened(run, "cancelled") == []

    async def test_an_action_that_changes_a_named_state_is_left_to_its_outcome(self, bench: BenchMaker) -> None:
        states = """\
  work:
    do: press.open
    watch: [{if: press.force > 1 kN, go: done}]
    next: scrap
"""
        async with bench() as lab:
            lab.toy("press").script["open"] = [20.0]
            run = await lab.start(protocol(states))
            await until_busy(lab, "press")
            lab.toy("press").reads["force"] = 2.0
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert await lab.happened(run, "left", "done") == ["left press.open", "done press.open"]
            assert lab.toy("press").safe == []

    async def test_one_that_was_not_sent_yet_is_not_done_any_more(self, bench: BenchMaker) -> None:
        states = """\
  work:
    do: press.crimp
    with: {force: 5 kN}
    watch: [{if: press.force > 1 kN, go: done}]
    next: scrap
"""
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [Unreachable("no answer")] * 20
            run = await lab.start(protocol(states))
            while len(await lab.events(run, "action.failed")) < 3:
                await asyncio.sleep(0.5)
            lab.toy("press").reads["force"] = 2.0
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert lab.toy("press").happened == []

    async def test_a_signal_that_nobody_knows_holds_the_run(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(protocol(FORM))
            await until_busy(lab, "stat1")
            lab.toy("stat1").refuse_poll = Rejected("no reading")
            await until(lab, run, "Holding")
            assert "nobody can tell whether stat.voltage < 1 V" in str((await lab.engine.state(run)).cause)

    async def test_it_does_not_act_while_a_person_holds_the_run_and_does_after_it(self, bench: BenchMaker) -> None:
        states = "  work:\n    wait: 3 h\n    watch: [{if: stat.voltage < 1 V, for: 30 s, go: scrap}]\n    next: done\n"
        async with bench() as lab:
            run = await lab.start(protocol(states))
            await asyncio.sleep(60)
            await lab.engine.command(run, Command.HOLD, by="eva")
            lab.toy("stat1").reads["voltage"] = 0.5
            await asyncio.sleep(600)
            assert (await lab.engine.state(run)).state == "Held"
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            start = clock.monotonic()
            assert (await lab.engine.wait(run)).outcome == "scrapped"
            assert clock.monotonic() - start < 45


WAIT = """\
  work:
    steps:
      - wait: {until: press.force > 1 kN, within: 10 min}
      - do: arm.home
    catch: {timeout: scrap}
    next: done
"""


class TestWaitUntil:
    async def test_it_goes_on_soon_after_the_signal(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(protocol(WAIT))
            await asyncio.sleep(100)
            assert lab.toy("arm").happened == []
            lab.toy("press").reads["force"] = 2.0
            start = clock.monotonic()
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert clock.monotonic() - start < 15

    async def test_what_does_not_come_about_in_time_is_caught(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            start = clock.monotonic()
            run = await lab.start(protocol(WAIT))
            assert (await lab.engine.wait(run)).outcome == "scrapped"
            assert clock.monotonic() - start == pytest.approx(600, abs=5)

    async def test_its_time_stands_still_while_the_run_is_held(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(protocol(WAIT))
            await asyncio.sleep(10)
            await lab.engine.command(run, Command.HOLD, by="eva")
            await asyncio.sleep(7200)
            lab.toy("press").reads["force"] = 2.0
            await asyncio.sleep(60)
            assert (await lab.engine.state(run)).state == "Held"
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).outcome == "complete"

    async def test_a_signal_that_nobody_knows_holds_the_run(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(protocol(WAIT))
            await asyncio.sleep(10)
            lab.toy("press").refuse_poll = Rejected("no reading")
            await until(lab, run, "Held")
            assert "press.force" in str((await lab.engine.state(run)).cause)
            lab.toy("press").refuse_poll = None
            lab.toy("press").reads["force"] = 2.0
            await asyncio.sleep(60)
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).outcome == "complete"


PICK = """\
  work:
    do: arm.pick
    with: {place: =sample.position}
    as: picked
    retry: {times: 2, if: not picked.gripped, delay: 10 s}
    next: [{if: picked.gripped, go: done}, {go: scrap}]
"""


class TestRetry:
    async def test_a_rejected_pick_is_done_again_after_its_delay(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("arm").script["pick"] = [Rejected("not homed"), Rejected("not homed")]
            start = clock.monotonic()
            run = await lab.start(protocol(PICK))
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert 20 <= clock.monotonic() - start < 30
            assert lab.toy("arm").happened == ["pick"]
            steps = [event.data["step"] for event in await lab.events(run, "action.intended")]
            assert steps == ["work:1/1", "work:1/1~2", "work:1/1~3"]

    async def test_a_missed_grip_so_often_and_no_more(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("arm").gripped = False  # type: ignore[attr-defined]
            run = await lab.start(protocol(PICK))
            assert (await lab.engine.wait(run)).outcome == "scrapped"
            assert lab.toy("arm").happened == ["pick"] * 3


SHUT = """\
labd: 1
protocol: shut
version: 1.2.0
parameters: {force: {type: quantity, default: 5 kN, min: 1 kN, max: 9 kN}}
roles: {ram: crimper}
results: {peak: =pressed.peak_force}
start: press
states:
  press:
    do: ram.crimp
    with: {force: =force}
    as: pressed
    catch: {rejected: {hold: The guard is open., continue_at: [press, open]}}
    next: shut
  open:
    do: ram.open
    next: press
    max_visits: 2
  shut: {end: complete}
"""
CALL = """\
  work:
    call: shut@1
    with: {force: 6 kN}
    roles: {ram: press}
    as: found
    next: [{if: found.peak > 7 kN, go: done}, {go: scrap}]
"""


class TestCall:
    async def test_it_is_journaled_with_its_steps_and_gives_its_results(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(protocol(CALL), called={"shut": SHUT})
            assert (await lab.engine.wait(run)).outcome == "complete"
            (crimp,) = await lab.events(run, "action.intended")
            assert (crimp.data["step"], crimp.data["state"]) == ("work:1/1>press:1/1", "work")
            assert crimp.data["parameters"]["force"] == {"v": 6.0, "u": "kN"}
            told = {event.data["what"]: event.data["value"] for event in await lab.events(run, "protocol.decided")}
            assert told["shut@1 returns"] == {"peak": 7.8}

    async def test_a_hold_in_it_goes_on_at_one_of_its_states(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [Rejected("the guard is open")]
            run = await lab.start(protocol(CALL), called={"shut": SHUT})
            await until(lab, run, "Held")
            assert "shut@1: The guard is open." in str((await lab.engine.state(run)).cause)
            with pytest.raises(CommandRefusedError, match="shut@1:press, shut@1:open"):
                await lab.engine.command(run, Command.UNHOLD, by="eva", at="scrap")
            await lab.engine.command(run, Command.UNHOLD, by="eva", at="shut@1:open")
            assert (await lab.engine.wait(run)).outcome == "complete"
            assert lab.toy("press").happened == ["open", "crimp"]

    async def test_a_state_of_it_may_be_named_where_any_may(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [Rejected("the guard is open")]
            text = SHUT.replace("rejected: {hold: The guard is open., continue_at: [press, open]}", "unreachable: open")
            run = await lab.start(protocol(CALL), called={"shut": text})
            await until(lab, run, "Held")
            with pytest.raises(CommandRefusedError, match="no state 'shut@1:nowhere'"):
                await lab.engine.command(run, Command.UNHOLD, by="eva", at="shut@1:nowhere")
            await lab.engine.command(run, Command.UNHOLD, by="eva", at="shut@1:open")
            assert (await lab.engine.wait(run)).outcome == "complete"

    async def test_a_fault_in_it_is_asked_about_though_its_caller_catches_faults(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            lab.toy("press").script["crimp"] = [Fault("E-stop")]
            text = protocol(CALL.replace("    next:", "    catch: {fault: scrap}\n    next:"))
            run = await lab.start(text, called={"shut": SHUT})
            assert (await until_asked(lab, run))["kind"] == "outcome"
