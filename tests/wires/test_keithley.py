"""The keithley driver against the simulated SourceMeter: two readings of the same facts, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.keithley import DRIVER
from labd import clock
from labd.sdk import Call, Driver, Fault, Intent, OnLoss, OutcomeUnknown, Rejected, Setup, Unreachable, Verdict
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.keithley import SIMULATOR, KeithleySimulator

Rows = list[tuple[float | None, ...]]
CHARGE: dict[str, Any] = {"current": "0.5 mA", "until_time": "12 h", "until_voltage": "4.1 V", "interval": "30 s"}


@contextlib.asynccontextmanager
async def smu(tmp_path: Path, *, cell: bool = True, **settings: Any) -> AsyncIterator[tuple[Driver, KeithleySimulator]]:
    world = World(seed=3)
    if cell:
        world.lay_cell("smu/cell", clock.now().timestamp())
    options = {"language": settings.pop("language", "SCPI")}
    said = {"address": "tcp://127.0.0.1:0", **settings}
    simulator = SIMULATOR(Bench("smu", world, said, options, directory=tmp_path))
    found = await simulator.start()
    driver = DRIVER(Setup("smu", {"max_voltage": 4.3, "max_current": 0.01, **said, **found}))
    try:
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


@contextlib.asynccontextmanager
async def connected(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Driver, KeithleySimulator]]:
    async with smu(tmp_path, **settings) as (driver, simulator):
        await driver.connect()
        yield driver, simulator


async def act(driver: Driver, name: str, id_: str = "a1", **values: Any) -> tuple[Any, Rows]:
    rows: Rows = []
    action = driver.actions[name]
    parameters = action.parameters.model_validate(values)
    return await driver.invoke(action, parameters, Call(id_, on_row=rows.append)), rows


async def test_it_says_what_it_is_and_what_it_cannot_do(tmp_path: Path) -> None:
    async with smu(tmp_path) as (driver, simulator):
        about = await driver.connect()
        assert (about.model, about.firmware, len(about.serial)) == ("Keithley 2450", "1.6.7c", 8)
        assert simulator.source.setup.off_state == {"VOLT": "HIMP", "CURR": "HIMP"}  # else it runs the cell down
        assert set(driver.lacks()) == {"impedance", "cyclic_voltammetry"}
        assert {
            action.on_loss
            for name, action in driver.actions.items()
            if name != "cell_off" and name not in driver.lacks()
        } == {OnLoss.STOP}
        with pytest.raises(Rejected, match="no alternating current"):
            await act(driver, "impedance", f_max="1 kHz", f_min="1 Hz")


async def test_open_circuit_is_measured_with_a_current_of_zero(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        result, rows = await act(driver, "open_circuit", duration="10 min", interval="10 s")
        assert len(rows) in (60, 61)
        assert 0.05 < result.final_voltage < 0.5  # graphite against NMC, never charged
        assert max(abs(row[2] or 0) for row in rows) < 1e-8
        assert not simulator.source.on


async def test_constant_current_stops_at_its_voltage_and_constant_voltage_at_its_current(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        charged, rows = await act(driver, "constant_current", **CHARGE)
        assert (charged.reason, charged.final_voltage) == ("voltage", pytest.approx(4.1, abs=3e-3))
        assert charged.charge == pytest.approx((rows[-1][0] or 0) * 0.5 / 3600, rel=2e-3)
        assert all(row[2] == pytest.approx(0.5e-3, rel=1e-3) for row in rows[:-1])
        held, rows = await act(
            driver, "constant_voltage", voltage="4.1 V", until_time="5 h", until_current="50 µA", interval="30 s"
        )
        assert (held.reason, held.final_current) == ("current", pytest.approx(50e-6, rel=0.1))
        assert held.charge > 0
        assert all(row[1] == pytest.approx(4.1, abs=1e-3) for row in rows)
        down, _ = await act(driver, "constant_current", current="-1 mA", until_time="5 min", interval="30 s")
        assert (down.reason, down.charge) == ("time", pytest.approx(-1 / 12, rel=1e-2))
        assert not simulator.source.on


async def test_a_current_without_a_voltage_ends_at_the_limit_of_the_cell(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, _):
        result, _ = await act(driver, "constant_current", current="1 mA", until_time="12 h", interval="30 s")
        assert (result.reason, result.final_voltage) == ("limit", pytest.approx(4.3, abs=3e-3))


async def test_cycling_gives_capacities_and_efficiencies(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        result, rows = await act(
            driver, "cycle", current="0.5 mA", upper="4.2 V", lower="2.8 V", cycles=2, cv_until="100 µA", rest="5 min",
            interval="30 s",
        )  # fmt: skip
        assert (len(result.capacities), result.reason, result.current) == (2, "cycles", 0.5e-3)
        assert 0.5 < result.capacities[0] < 3.0
        assert 70 < result.coulombic_efficiencies[0] < result.coulombic_efficiencies[1] <= 101
        times = [row[0] or 0 for row in rows]
        assert times == sorted(times)
        assert {row[3] for row in rows} == {1, 2}
        assert not simulator.source.on


async def test_two_wire_readings_see_the_leads(tmp_path: Path) -> None:
    async with connected(tmp_path, four_wire=False, model="2461") as (driver, simulator):
        await act(driver, "constant_current", current="10 mA", until_time="1 min", interval="10 s")
        assert not simulator.source.setup.four_wire["CURR"]


async def test_the_terminals_are_those_of_lab_yaml(tmp_path: Path) -> None:
    async with connected(tmp_path, terminals="rear") as (driver, _):
        result, _ = await act(driver, "open_circuit", duration="10 s")
        assert result.final_voltage > 0.05


# ── nobody watches ───────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_charge_whose_daemon_dies_ends_at_its_voltage_and_is_made_safe_by_the_next(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        task = asyncio.ensure_future(act(driver, "constant_current", **CHARGE))
        await asyncio.sleep(600)
        await driver.close()  # a program that is killed says nothing more
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(24 * 3600)
        simulator.step(0)
        assert simulator.source.on
        assert simulator.source.volts == pytest.approx(4.1, abs=1e-3)
        assert abs(simulator.source.amps) < 0.1e-3
        second = DRIVER(driver.setup)
        await second.connect()
        assert not simulator.source.on
        await second.safe_state()
        await second.safe_state()
        assert not simulator.source.on
        await second.close()


async def test_it_is_ended_in_order_with_what_it_has_so_far(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        task = group.create_task(act(driver, "constant_current", **CHARGE))
        await asyncio.sleep(3600)
        reading: Any = await driver.read_state()
        assert reading.current == pytest.approx(0.5e-3, rel=1e-3)
        with pytest.raises(Rejected, match="smu is busy with a1"):
            await act(driver, "open_circuit", "a2", duration="1 min")
        with pytest.raises(Rejected, match="busy with a1"):
            await driver.cell_off(Call("a3"))  # type: ignore[attr-defined]
        await driver.cancel("a1")
        result, _ = await task
        assert (result.reason, result.charge) == ("cancelled", pytest.approx(0.5, rel=0.01))
        assert not simulator.source.on
        reading = await driver.read_state()
        assert (reading.voltage, reading.current) == (None, 0.0)
        await driver.cell_off(Call("a4"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("after", [0.02, 300.0, 301.013, 3600.0])
async def test_safe_state_in_mid_cycling_leaves_the_output_off(tmp_path: Path, after: float) -> None:
    async with connected(tmp_path) as (driver, simulator):
        task = asyncio.ensure_future(
            act(driver, "cycle", current="2 mA", upper="4.2 V", lower="2.8 V", cycles=5, rest="1 min", interval="10 s")
        )
        await asyncio.sleep(after)
        await driver.safe_state()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(60)
        assert not simulator.source.on


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_late_answer_is_never_taken_for_the_next(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        task = group.create_task(act(driver, "open_circuit", duration="10 min", interval="10 s"))
        for seconds in (5.5, 6.5, 9.0):
            await asyncio.sleep(60)
            simulator.faults["late_reply"] = seconds
        result, rows = await task
        voltages = [row[1] or 0 for row in rows]
        assert max(voltages) - min(voltages) < 1e-3
        times = [row[0] or 0 for row in rows]
        assert times == sorted(set(times))
        assert result.final_voltage == voltages[-1]


async def test_a_lost_answer_to_a_reading_is_asked_for_again(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        task = group.create_task(act(driver, "constant_current", **CHARGE))
        await asyncio.sleep(60)
        simulator.faults["lost_replies"] = 2
        await asyncio.sleep(60)
        await driver.cancel("a1")
        result, _ = await task
        assert result.charge == pytest.approx(120 * 0.5 / 3600, rel=0.1)


async def test_a_link_that_is_opened_again_in_mid_charge_switches_nothing_off(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:
        task = group.create_task(act(driver, "constant_current", **CHARGE))
        await asyncio.sleep(60)
        await driver.close()
        await asyncio.sleep(10)
        await driver.connect()
        assert simulator.source.on
        await asyncio.sleep(60)
        await driver.cancel("a1")
        result, _ = await task
        assert result.charge == pytest.approx(130 * 0.5 / 3600, rel=0.05)


async def test_an_instrument_that_falls_silent_is_given_up_and_then_made_safe(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:

        async def ends() -> None:
            with pytest.raises(OutcomeUnknown, match="no readings for 30 s"):
                await act(driver, "constant_current", **CHARGE)

        task = group.create_task(ends())
        await asyncio.sleep(60)
        simulator.faults["silent"] = True
        await task
        simulator.faults.clear()
        await driver.connect()
        await driver.safe_state()
        assert not simulator.source.on
        parameters = driver.actions["constant_current"].parameters.model_validate(CHARGE)
        outcome = await driver.outcome(Intent("a1", "constant_current", "", parameters, {}, clock.now()))
        assert outcome.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("fault", ["trip", "power_cycle"])
async def test_an_output_that_goes_off_by_itself_is_a_fault(tmp_path: Path, fault: str) -> None:
    async with connected(tmp_path) as (driver, simulator), asyncio.TaskGroup() as group:

        async def ends() -> None:
            with pytest.raises(Fault, match="the output has gone off"):
                await act(driver, "constant_current", **CHARGE)

        task = group.create_task(ends())
        await asyncio.sleep(60)
        simulator.faults[fault] = True
        await task
        assert not simulator.source.on
        assert simulator.source.setup.off_state["VOLT"] == "HIMP"


async def test_a_set_up_that_is_not_taken_is_rejected_with_the_instruments_words(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        simulator.faults["error"] = "Settings conflict"
        with pytest.raises(Rejected, match=r"Settings conflict \(5001\)"):
            await act(driver, "open_circuit", duration="1 min")
        assert not simulator.source.on
        result, _ = await act(driver, "open_circuit", duration="1 min")
        assert result.final_voltage > 0.05


async def test_a_set_up_that_is_not_answered_has_switched_nothing_on(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        simulator.faults["silent"] = True
        with pytest.raises(Unreachable, match="its output is off"):
            await act(driver, "open_circuit", duration="1 min")
        assert not simulator.source.on


async def test_a_source_that_gives_neither_its_voltage_nor_its_current_is_a_fault(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        simulator.faults["compliance"] = 0.2e-3
        with pytest.raises(Fault, match="neither its voltage nor its current"):
            await act(driver, "constant_current", **CHARGE)
        assert not simulator.source.on


async def test_a_contact_that_is_off_is_found_before_a_current_flows(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        simulator.faults["open_circuit"] = True
        with pytest.raises(Rejected, match="is the cell connected"):
            await act(driver, "constant_current", **CHARGE)
        assert not simulator.source.on


async def test_a_charge_to_below_the_cells_voltage_is_refused_it_would_discharge(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        await act(driver, "constant_current", **CHARGE)
        with pytest.raises(Rejected, match=r"a charge to 3 V would go the other way"):
            await act(driver, "constant_current", current="1 mA", until_time="1 h", until_voltage="3 V")
        assert not simulator.source.on


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"language": "TSP"}, "speaks TSP; choose SCPI"), ({"model": "2461"}, "")],
)
async def test_another_language_is_told(tmp_path: Path, settings: dict[str, str], text: str) -> None:
    async with smu(tmp_path, **settings) as (driver, _):
        if text:
            with pytest.raises(Fault, match=text):
                await driver.connect()
        else:
            assert (await driver.connect()).model == "Keithley 2461"


async def test_another_model_than_lab_yaml_says_is_a_fault(tmp_path: Path) -> None:
    async with smu(tmp_path) as (driver, _):
        other = DRIVER(Setup("smu", {**driver.setup.settings, "model": "2461"}))
        with pytest.raises(Fault, match=r"lab\.yaml says 2461, and this is a 2450"):
            await other.connect()


async def test_what_the_cell_does_not_bear_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        for name, values, text in (
            ("constant_current", {"current": "11 mA", "until_time": "1 h"}, "above max_current of smu, 0.01 A"),
            ("constant_current", {"current": "0 A", "until_time": "1 h"}, "use open_circuit"),
            ("constant_voltage", {"voltage": "4.4 V", "until_time": "1 h"}, "beyond min_voltage and max_voltage"),
            ("open_circuit", {"duration": "0 s"}, "no time to measure in"),
            ("cycle", {"upper": "3 V", "lower": "4 V", "cycles": 1, "current": "1 mA"}, "must be above lower"),
        ):
            with pytest.raises(Rejected, match=text):
                await act(driver, name, **values)
        assert simulator.readings == []


async def test_an_order_that_is_cut_off_leaves_the_output_off(tmp_path: Path) -> None:
    async with connected(tmp_path) as (driver, simulator):
        task = asyncio.create_task(act(driver, "constant_current", current="1 mA", until_time="1 h"))
        await asyncio.sleep(60)
        assert simulator.source.on
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not simulator.source.on
        result, _ = await act(driver, "open_circuit", "a2", duration="10 s")
        assert result.final_voltage > 0
