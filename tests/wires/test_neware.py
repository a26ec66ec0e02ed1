"""The neware driver against the simulated cycler: two readings of the same facts, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.neware import DRIVER
from labd import clock
from labd.sdk import Call, Driver, Fault, Intent, OutcomeUnknown, Rejected, Setup, Unreachable, Verdict
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.neware import SIMULATOR, NewareSimulator
from tests.wires.relay import killed, relay

UNIT, OTHER = "21-1-1", "21-1-2"
Rows = list[tuple[float | None, ...]]
Stand = tuple[Driver, NewareSimulator]


@contextlib.asynccontextmanager
async def cycler(tmp_path: Path, **settings: Any) -> AsyncIterator[Stand]:
    """A cycler of two channels, a never charged cell in the first."""
    world = World(seed=3)
    world.lay_cell(f"cycler/{UNIT}", clock.now().timestamp())
    said = {"address": "127.0.0.1:0", "channels": [UNIT, OTHER], "directory": "steps", **settings}
    simulator = SIMULATOR(Bench("cycler", world, said, directory=tmp_path))
    found = await simulator.start()
    driver = DRIVER(Setup("cycler", {"max_voltage": 4.3, "max_current": 0.01, **said, **found}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


async def intended(driver: Driver, name: str, id_: str = "run-1-001", **values: Any) -> Intent:
    parameters = driver.actions[name].parameters.model_validate(values)
    return Intent(id_, name, UNIT, parameters, await driver.baseline(name, UNIT), clock.now())


async def order(driver: Driver, intent: Intent, rows: Rows | None = None) -> Any:
    call = Call(intent.id, intent.unit, intent.baseline, on_row=[].append if rows is None else rows.append)
    return await driver.invoke(driver.actions[intent.action], intent.parameters, call)


async def act(driver: Driver, name: str, id_: str = "run-1-001", **values: Any) -> tuple[Any, Rows]:
    rows: Rows = []
    return await order(driver, await intended(driver, name, id_, **values), rows), rows


CHARGE: dict[str, Any] = {"current": "0.5 mA", "until_time": "12 h", "until_voltage": "4.1 V", "interval": "30 s"}


async def test_a_look_at_all_channels(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _):
        found: Any = await driver.read_state()
        assert set(found) == {UNIT, OTHER}
        assert 0.05 < found[UNIT].voltage < 0.5  # graphite against NMC, never charged
        assert (found[UNIT].state, found[UNIT].current, found[OTHER].voltage) == (
            "finish",
            0.0,
            pytest.approx(0, abs=2e-3),
        )


async def test_open_circuit(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _):
        began = clock.monotonic()
        result, rows = await act(driver, "open_circuit", duration="10 min", interval="10 s")
        assert clock.monotonic() - began == pytest.approx(600, abs=30)
        assert [row[0] for row in rows] == [10.0 * number for number in range(61)]
        assert 0.05 < result.final_voltage == rows[-1][1] < 0.5
        assert {row[2] for row in rows} == {0.0}


async def test_constant_current_stops_at_its_voltage_and_constant_voltage_at_its_current(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _):
        charged, rows = await act(driver, "constant_current", **CHARGE)
        assert (charged.reason, charged.final_voltage) == ("voltage", pytest.approx(4.1, abs=1e-3))
        assert charged.charge == pytest.approx((rows[-1][0] or 0) * 0.5 / 3600, rel=1e-3)
        assert all(row[2] == pytest.approx(0.5e-3, rel=1e-3) for row in rows)
        held, rows = await act(
            driver,
            "constant_voltage",
            "run-1-002",
            voltage="4.1 V",
            until_time="5 h",
            until_current="50 µA",
            interval="30 s",
        )
        assert (held.reason, held.final_current) == ("current", pytest.approx(50e-6, rel=0.1))
        assert held.charge > 0
        assert all(row[1] == pytest.approx(4.1, abs=1e-3) for row in rows)
        drained, _ = await act(
            driver, "constant_voltage", "run-1-003", voltage="3.9 V", until_time="10 min", interval="30 s"
        )
        assert (drained.reason, drained.charge < 0, drained.final_current < 0) == ("time", True, True)
        down, _ = await act(
            driver, "constant_current", "run-1-004", current="-1 mA", until_time="5 min", interval="30 s"
        )
        assert (down.reason, down.charge) == ("time", pytest.approx(-1 / 12, rel=1e-2))


async def test_a_current_without_a_voltage_ends_at_the_limit_of_the_cell(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _):
        result, _ = await act(driver, "constant_current", current="1 mA", until_time="12 h", interval="30 s")
        assert (result.reason, result.final_voltage) == ("limit", pytest.approx(4.3, abs=1e-3))


async def test_cycling_gives_capacities_and_efficiencies(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _):
        result, rows = await act(
            driver, "cycle", current="0.5 mA", upper="4.2 V", lower="2.8 V", cycles=2, cv_until="100 µA", rest="5 min",
            interval="30 s",
        )  # fmt: skip
        assert (len(result.capacities), result.reason, result.current) == (2, "cycles", 0.5e-3)
        assert 0.5 < result.capacities[0] < 3.0
        assert 70 < result.coulombic_efficiencies[0] < result.coulombic_efficiencies[1] <= 101
        assert result.capacity == result.capacities[-1]
        assert {row[3] for row in rows} == {1, 2}
        times = [row[0] or 0 for row in rows]
        assert times == sorted(times)
        second = [row[1] or 0 for row in rows if row[3] == 2]
        assert (max(second), min(second)) == (pytest.approx(4.2, abs=0.01), pytest.approx(2.8, abs=0.01))


async def test_a_cycler_has_no_impedance_and_no_voltammetry(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator):
        assert set(driver.lacks()) == {"impedance", "cyclic_voltammetry"}
        with pytest.raises(Rejected, match="cycler has no impedance: a cycler measures no impedance"):
            await act(driver, "impedance", f_max="1 kHz", f_min="1 Hz")
        with pytest.raises(Rejected, match="does not sweep"):
            await act(driver, "cyclic_voltammetry", start="3 V", vertex1="4 V", vertex2="3 V", scan_rate="1 mV/s")
        assert simulator.channels[UNIT].memory["testid"] == 0


async def test_two_channels_work_side_by_side_and_a_third_order_waits_for_nobody(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _), asyncio.TaskGroup() as group:
        first = group.create_task(act(driver, "open_circuit", duration="5 min", interval="10 s"))
        await asyncio.sleep(20)
        with pytest.raises(Rejected, match="channel 21-1-1 is busy with run-1-001"):
            await act(driver, "open_circuit", "run-2-001", duration="5 min")
        action = driver.actions["open_circuit"]
        call = Call("run-3-001", OTHER)
        await driver.invoke(action, action.parameters.model_validate({"duration": "1 min"}), call)
        assert not first.done()


async def test_replies_come_in_pieces_however_slowly(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator):
        simulator.faults |= {"chunk": 100, "chunk_gap": 0.01}
        _, rows = await act(driver, "open_circuit", duration="20 min", interval="1 s")
        assert len(rows) == 1201


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_start_that_is_answered_false_is_rejected_and_leaves_no_file(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator):
        simulator.faults["start_false"] = 1
        intent = await intended(driver, "open_circuit", duration="1 min")
        with pytest.raises(Rejected, match="does not start"):
            await order(driver, intent)
        assert list((tmp_path / "steps").iterdir()) == []
        assert (await driver.outcome(intent)).verdict is Verdict.NOT_DONE


async def test_protection_is_a_fault_and_what_was_measured_is_there(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        intent = await intended(driver, "constant_current", **CHARGE)
        rows: Rows = []

        async def ends() -> None:
            with pytest.raises(Fault, match="protection has ended the test on channel 21-1-1"):
                await order(driver, intent, rows)

        task = group.create_task(ends())
        await asyncio.sleep(3600)
        simulator.faults["protect"] = UNIT
        await task
        found: Any = await driver.read_state()
        assert (found[UNIT].state, len(rows) >= 119) == ("protect", True)
        outcome = await driver.outcome(intent)
        assert (outcome.verdict, outcome.result.reason) == (Verdict.PARTIAL, "cancelled")  # type: ignore[union-attr]


async def test_a_cell_beyond_its_limits_trips_the_cyclers_own_protection(tmp_path: Path) -> None:
    async with cycler(tmp_path, min_voltage=2.0) as (driver, simulator):
        with pytest.raises(Fault, match=r"protection .* \(log code 100021\)"):
            await act(driver, "open_circuit", duration="10 min")
        assert simulator.channels[UNIT].memory["step_at"] == pytest.approx(1.0, abs=0.2)


async def test_a_contact_that_comes_off_makes_cycles_of_nothing(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator):
        simulator.faults["open_circuit"] = True
        result, _ = await act(driver, "cycle", current="0.5 mA", upper="4.2 V", lower="2.8 V", cycles=3)
        assert (len(result.capacities), max(result.capacities)) == (3, pytest.approx(0, abs=1e-3))


async def test_a_person_at_the_cyclers_pc_ends_a_test(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:

        async def ends() -> None:
            with pytest.raises(Fault, match="somebody has stopped"):
                await act(driver, "constant_current", **CHARGE)

        group.create_task(ends())
        await asyncio.sleep(300)
        simulator.faults["stopped"] = UNIT


async def test_a_test_that_is_paused_goes_on_afterwards(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        began = clock.monotonic()
        task = group.create_task(act(driver, "open_circuit", duration="10 min", interval="10 s"))
        await asyncio.sleep(100)
        simulator.faults["paused"] = UNIT
        await asyncio.sleep(500)
        found: Any = await driver.read_state()
        assert found[UNIT].state == "pause"
        del simulator.faults["paused"]
        _, rows = await task
        assert len(rows) == 61
        assert clock.monotonic() - began > 1090


async def test_it_is_ended_in_order_with_what_it_has_so_far(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _), asyncio.TaskGroup() as group:
        task = group.create_task(act(driver, "constant_current", **CHARGE))
        await asyncio.sleep(3600)
        await driver.cancel("run-1-001")
        result, _ = await task
        assert (result.reason, result.charge) == ("cancelled", pytest.approx(0.5, rel=0.02))
        with pytest.raises(Rejected, match="does not run"):
            await driver.cancel("run-1-001")


async def test_safe_state_stops_a_channel_or_all_and_may_be_asked_for_twice(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        task = group.create_task(act(driver, "constant_current", **CHARGE))
        await asyncio.sleep(60)
        await driver.safe_state(OTHER)
        assert not task.done()
        await driver.safe_state()
        await driver.safe_state()
        assert simulator.channels[UNIT].state == "stop"
        result, _ = await task
        assert result.reason == "cancelled"
        await driver.cell_off(Call("run-1-009", UNIT))  # type: ignore[attr-defined]


async def test_a_channel_that_does_not_stop_keeps_no_other_one_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cycler(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        first = group.create_task(act(driver, "constant_current", **CHARGE))
        resting = replace(await intended(driver, "open_circuit", "run-1-002", duration="1 h"), unit=OTHER)
        other = group.create_task(order(driver, resting))
        await asyncio.sleep(60)
        stuck = simulator.channels[UNIT]
        with monkeypatch.context() as patched:
            patched.setattr(stuck, "end", lambda *_: None)
            with pytest.raises(OutcomeUnknown, match="was stopped, and still works"):
                await driver.safe_state()
        assert (stuck.state, simulator.channels[OTHER].state) == ("working", "stop")
        await other
        await driver.safe_state()
        await first


async def test_a_lost_link_ends_nothing_and_every_row_comes_once(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        task = group.create_task(act(driver, "open_circuit", duration="30 min", interval="10 s"))
        await asyncio.sleep(300)
        found = await _restarted(simulator, 600)
        assert not task.done()
        driver._bts.link._port = int(found["address"].rpartition(":")[2])  # type: ignore[attr-defined]
        await driver.connect()
        _, rows = await task
        assert [row[0] for row in rows] == [10.0 * number for number in range(181)]


async def _restarted(simulator: NewareSimulator, after: float) -> dict[str, Any]:
    await simulator.stop()
    await asyncio.sleep(after)
    return await simulator.start()


async def test_an_answer_that_comes_late_is_never_taken_for_the_next(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator):
        simulator.faults["delay"] = 11.0
        with pytest.raises(OutcomeUnknown, match="no answer within 10 s"):
            await driver.read_state()
        del simulator.faults["delay"]
        assert (await driver.baseline("cycle", UNIT)) == {"test": 0}


async def test_a_reply_that_is_none_says_so(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator):
        simulator._commands["inquire"] = lambda _: "  <cmd>getchlstatus_resp</cmd>\r\n"
        with pytest.raises(OutcomeUnknown, match="no answer to inquire"):
            await driver.read_state()


# ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_start_whose_reply_is_lost_is_found_by_its_barcode_and_taken_up(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator):
        simulator.faults["lost_reply_to"] = "start"
        intent = await intended(driver, "open_circuit", duration="10 min", interval="10 s")
        with pytest.raises(OutcomeUnknown):
            await order(driver, intent)
        outcome = await driver.outcome(intent)
        assert outcome.verdict is Verdict.RUNNING
        rows: Rows = []
        result: Any = await driver.attach(intent, Call(intent.id, UNIT, on_row=rows.append))
        assert [row[0] for row in rows] == [10.0 * number for number in range(61)]
        outcome = await driver.outcome(intent)
        assert (outcome.verdict, outcome.result) == (Verdict.DONE, result)
        assert simulator.channels[UNIT].memory["testid"] == 1


@pytest.mark.parametrize(("forward", "verdict"), [(False, Verdict.NOT_DONE), (True, Verdict.RUNNING)])
async def test_a_start_whose_program_died(tmp_path: Path, forward: bool, verdict: Verdict) -> None:
    async with cycler(tmp_path) as (real, simulator):
        port = real._bts.link._port  # type: ignore[attr-defined]
        async with relay(port, lambda data: b"<cmd>start</cmd>" in data, forward=forward) as (wire, listens):
            first = DRIVER(Setup("cycler", {**real.setup.settings, "address": f"127.0.0.1:{listens}"}))
            await first.connect()
            intent = await intended(first, "open_circuit", duration="10 min", interval="10 s")
            await killed(asyncio.ensure_future(order(first, intent)), wire)
        outcome = await real.outcome(intent)
        assert outcome.verdict is verdict, outcome.why
        assert simulator.channels[UNIT].memory["testid"] == int(forward)


async def test_a_daemon_that_died_gets_the_rows_that_it_missed_and_no_other(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _):
        intent = await intended(driver, "constant_current", **CHARGE)
        heard: Rows = []
        task = asyncio.ensure_future(order(driver, intent, heard))
        await asyncio.sleep(2 * 3600)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await driver.close()
        await asyncio.sleep(1800)
        second = DRIVER(driver.setup)
        await second.connect()
        assert (await second.outcome(intent)).verdict is Verdict.RUNNING
        kept = len(heard) - 3  # the last of them were not on the disk yet
        rows = heard[:kept]
        result: Any = await second.attach(intent, Call(intent.id, UNIT, on_row=rows.append, rows_before=kept))
        times = [row[0] or 0 for row in rows]
        assert times == sorted(set(times))
        assert times[:-1] == [30.0 * number for number in range(len(times) - 1)]
        assert result.charge == pytest.approx(times[-1] * 0.5 / 3600, rel=1e-3)
        again: Rows = []
        await second.catch_up(intent, Call(intent.id, UNIT, on_row=again.append, rows_before=len(rows) - 5))
        assert again == rows[-5:]
        await second.close()


async def test_another_test_on_the_channel_proves_nothing(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _):
        intent = await intended(driver, "open_circuit", "run-1-007", duration="1 min")
        await act(driver, "open_circuit", "by-hand", duration="1 min")
        outcome = await driver.outcome(intent)
        assert (outcome.verdict, "another test" in outcome.why) == (Verdict.UNKNOWN, True)
        with pytest.raises(OutcomeUnknown, match="by-hand"):
            await driver.attach(intent, Call(intent.id, UNIT))


# ── connecting ───────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_wrong_password_a_strange_channel_and_a_missing_folder_say_what_to_do(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, _):
        (tmp_path / "password").write_text("wrong\n")
        for change, kind, text in (
            ({"password_file": str(tmp_path / "password")}, Fault, "refuses the login of admin"),
            ({"password_file": str(tmp_path / "no")}, Unreachable, "password_file: .* cannot be read"),
            ({"channels": ["21-1-1", "22-1-1"]}, Fault, "no channel 22-1-1; it has: 21-1-1, 21-1-2"),
            ({"directory": str(tmp_path / "none")}, Unreachable, "mount the folder"),
        ):
            other = DRIVER(Setup("cycler", {**driver.setup.settings, **change}))
            with pytest.raises(kind, match=text):
                await other.connect()
            await other.close()


async def test_a_password_of_ones_own_stands_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret & <more>\n")
    async with cycler(tmp_path) as (driver, simulator):
        simulator.bench.options["password"] = "secret & <more>"  # type: ignore[index]
        own = DRIVER(Setup("cycler", {**driver.setup.settings, "password_file": str(tmp_path / "password")}))
        assert (await own.connect()).model == "BTS 8, device type 27"
        await own.close()
        with pytest.raises(Fault, match="refuses the login"):
            await driver.connect()


async def test_what_the_cell_does_not_bear_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (driver, simulator):
        for name, values, text in (
            ("constant_current", {"current": "11 mA", "until_time": "1 h"}, "above max_current of cycler, 0.01 A"),
            ("constant_current", {"current": "0 A", "until_time": "1 h"}, "use open_circuit"),
            ("constant_voltage", {"voltage": "4.4 V", "until_time": "1 h"}, "beyond min_voltage and max_voltage"),
            ("open_circuit", {"duration": "0 s"}, "no time to measure in"),
            ("cycle", {"upper": "3 V", "lower": "4 V", "cycles": 1, "current": "1 mA"}, "must be above lower"),
            (
                "cycle",
                {"upper": "4 V", "lower": "3 V", "cycles": 1, "current": "1 mA", "cv_until": "1 mA"},
                "must be below",
            ),
        ):
            with pytest.raises(Rejected, match=text):
                await act(driver, name, **values)
        assert simulator.channels[UNIT].memory["testid"] == 0


async def test_step_files_go_where_the_cyclers_pc_calls_them_otherwise(tmp_path: Path) -> None:
    async with cycler(tmp_path, directory_there="Z:\\labd\\steps") as (driver, _):
        result, _ = await act(driver, "open_circuit", duration="1 min")
        assert result.final_voltage > 0.05
