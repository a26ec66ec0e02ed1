"""The methodscript driver against the simulated EmStat4 HR: two readings of the same facts, over a real pty."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.methodscript import DRIVER
from labd import clock
from labd.sdk import Call, Driver, Setup
from simulators._kit.simulator import Bench
from simulators._kit.world import LID, Cell, World
from simulators.methodscript import SIMULATOR


@contextlib.asynccontextmanager
async def measured(tmp_path: Path, **cell: Any) -> AsyncIterator[tuple[Driver, World]]:
    world = World(seed=3)
    built = {"parts": ["half_cell", LID], "electrolyte": {"LP57": 40.0}, "wetted_at": 0.0, "crimp_force": 7.8}
    world.put("stat1/cell", Cell(id="cell-1", crimped_at=120.0, crimp_dwell=2.0, **{**built, **cell}))
    settings = {"port": "stat1", "model": "emstat4_hr"}
    simulator = SIMULATOR(Bench("stat1", world, settings, directory=tmp_path))
    found = await simulator.start()
    driver = DRIVER(Setup("stat1", {**settings, **found}))
    try:
        await driver.connect()
        yield driver, world
    finally:
        await driver.close()
        await simulator.stop()


async def act(driver: Driver, name: str, **values: Any) -> tuple[Any, list[tuple[float | None, ...]]]:
    rows: list[tuple[float | None, ...]] = []
    action = driver.actions[name]
    parameters = action.parameters.model_validate(values)
    return await driver.invoke(action, parameters, Call(f"a-{name}", on_row=rows.append)), rows


async def test_it_says_what_it_is(tmp_path: Path) -> None:
    async with measured(tmp_path) as (driver, _):
        about = await driver.connect()
        assert "EmStat4" in about.model or "es4" in about.firmware.lower() or about.firmware


async def test_open_circuit(tmp_path: Path) -> None:
    async with measured(tmp_path) as (driver, _):
        start = clock.monotonic()
        result, rows = await act(driver, "open_circuit", duration="10 min", interval="10 s")
        assert clock.monotonic() - start == pytest.approx(600, abs=30)
        assert len(rows) in (60, 61)
        assert 0.05 < result.final_voltage < 0.5  # graphite against NMC, never charged
        assert rows[-1][1] == pytest.approx(result.final_voltage, abs=1e-6)


async def test_cycling_gives_capacities_and_efficiencies(tmp_path: Path) -> None:
    async with measured(tmp_path) as (driver, _):
        result, rows = await act(
            driver, "cycle", current="0.5 mA", upper="4.2 V", lower="2.8 V", cycles=2, interval="30 s"
        )
        assert len(result.capacities) == 2
        assert 0.5 < result.capacities[0] < 3.0
        assert 70 < result.coulombic_efficiencies[0] < result.coulombic_efficiencies[1] <= 101
        assert result.capacity == result.capacities[-1]
        voltages = [row[1] or 0 for row in rows if row[3] == 2]
        assert max(voltages) == pytest.approx(4.2, abs=0.05)
        assert min(voltages) == pytest.approx(2.8, abs=0.1)
        assert {row[3] for row in rows} == {1, 2}
        currents = {round((row[2] or 0) * 1e3, 1) for row in rows}
        assert {0.5, -0.5} <= currents


async def test_constant_current_stops_at_its_voltage_and_constant_voltage_at_its_current(tmp_path: Path) -> None:
    async with measured(tmp_path) as (driver, _):
        charged, _ = await act(
            driver, "constant_current", current="0.5 mA", until_time="12 h", until_voltage="4.1 V", interval="30 s"
        )
        assert charged.charge > 0.3
        assert charged.final_voltage == pytest.approx(4.1, abs=0.03)
        held, rows = await act(
            driver, "constant_voltage", voltage="4.1 V", until_time="5 h", until_current="50 µA", interval="30 s"
        )
        assert held.charge > 0
        assert abs(held.final_current) <= 60e-6
        assert all(abs((row[1] or 0) - 4.1) < 0.01 for row in rows)


async def test_impedance_is_a_capacitive_half_circle(tmp_path: Path) -> None:
    async with measured(tmp_path) as (driver, _):
        result, rows = await act(driver, "impedance", f_max="100 kHz", f_min="0.1 Hz", points_per_decade=5)
        frequencies = [row[0] for row in rows]
        assert frequencies == sorted(frequencies, reverse=True)  # type: ignore[type-var]
        assert 25 <= len(rows) <= 35
        assert min(row[2] or 0 for row in rows) < 0  # Im Z of a capacitance
        assert result.r_ohmic is not None
        assert 1 < result.r_ohmic < 100
        assert (rows[-1][1] or 0) > (rows[0][1] or 0)


async def test_cyclic_voltammetry_goes_there_and_back(tmp_path: Path) -> None:
    async with measured(tmp_path) as (driver, _):
        result, rows = await act(
            driver, "cyclic_voltammetry", start="3.6 V", vertex1="3.8 V", vertex2="3.5 V", scan_rate="1 mV/s"
        )
        voltages = [row[1] or 0 for row in rows]
        assert max(voltages) == pytest.approx(3.8, abs=0.02)
        assert min(voltages) == pytest.approx(3.5, abs=0.02)
        assert result.peak_current > 0


async def test_a_poll_reads_the_cell_and_safe_state_opens_its_circuit(tmp_path: Path) -> None:
    async with measured(tmp_path) as (driver, _):
        reading = await driver.read_state()
        assert 0.05 < reading.voltage < 0.5  # type: ignore[union-attr]
        await driver.safe_state()
        await driver.safe_state()
        await act(driver, "cell_off")


async def test_cycling_is_ended_in_order_with_what_it_has_so_far(tmp_path: Path) -> None:
    import asyncio

    async with measured(tmp_path) as (driver, _), asyncio.TaskGroup() as group:
        task = group.create_task(
            act(driver, "cycle", current="0.5 mA", upper="4.2 V", lower="2.8 V", cycles=50, interval="30 s")
        )
        await asyncio.sleep(10 * 3600)
        await driver.cancel("a-cycle")
        result, rows = await task
        assert len(rows) > 500
        assert "cancel" in result.reason


async def test_a_current_beyond_what_the_cell_stands_ends_a_hold_and_a_sweep_at_once(tmp_path: Path) -> None:
    async with measured(tmp_path) as (first, _):
        await act(first, "constant_current", current="0.5 mA", until_time="2 h", until_voltage="3.9 V", interval="30 s")
        await first.close()
        careful = DRIVER(Setup("stat1", {**first.setup.settings, "max_current": 100e-6}))
        await careful.connect()
        start = clock.monotonic()
        held, rows = await act(careful, "constant_voltage", voltage="4.2 V", until_time="1 h", interval="1 s")
        assert clock.monotonic() - start < 10
        assert held.reason == "limit"
        assert abs(rows[-1][2] or 0) > 100e-6
        _, swept = await act(
            careful, "cyclic_voltammetry", start="3.9 V", vertex1="4.2 V", vertex2="3.9 V", scan_rate="5 mV/s"
        )
        assert max(row[1] or 0 for row in swept) < 4.1
        await careful.close()
