"""Cycles, rests, dQ/dV and spectra, of cells whose numbers are known."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest

from labd.records.analysis import AnalysisError, analyse, curves, cycles, resolution, slopes, spectrum, version
from tests.records.cell import columns, cycled
from tests.records.cell import spectrum as arc


def of(rows: list[Any], *, counted: bool = True) -> list[Any]:
    told = columns(rows)
    return cycles(told["time"], told["voltage"], told["current"], told["cycle"] if counted else None)


@pytest.mark.parametrize("counted", [True, False])
def test_capacity_and_efficiency_are_those_that_were_put_in(counted: bool) -> None:
    first, second = of(cycled([(2.0, 1.8), (1.8, 1.79)]), counted=counted)
    assert (first.number, first.begins, first.complete) == (1, "charge", True)
    assert (first.charge, first.discharge) == pytest.approx((2.0, 1.8))
    assert first.efficiency == pytest.approx(90.0)
    assert second.efficiency == pytest.approx(100 * 1.79 / 1.8)


def test_energy_is_the_integral_of_voltage_times_charge() -> None:
    (one,) = of(cycled([(2.0, 1.8)]))
    assert one.charge_energy == pytest.approx(2.0 * 3.6)
    assert one.discharge_energy == pytest.approx(1.8 * 3.6)
    assert one.energy_efficiency == pytest.approx(90.0)


def test_a_cell_that_is_discharged_first_gives_back_by_charging() -> None:
    (one,) = of(cycled([(1.8, 2.0)], first="discharge"))
    assert one.begins == "discharge"
    assert one.efficiency == pytest.approx(90.0)


def test_rest_voltages_are_those_at_the_end_of_the_rests() -> None:
    (one,) = of(cycled([(2.0, 1.8)]))
    assert (one.rest_after_charge, one.rest_after_discharge) == pytest.approx((4.15, 3.05))


def test_a_half_that_was_broken_off_makes_no_complete_cycle() -> None:
    rows = cycled([(2.0, 1.8), (1.8, 1.79)])
    first, second = of(rows[:-200])
    assert first.complete
    assert (second.complete, second.efficiency) == (False, None)


def test_a_charge_without_discharge_is_not_complete() -> None:
    (one,) = of(cycled([(2.0, 1.8)])[:400])
    assert (one.discharge, one.complete, one.efficiency) == (0, False, None)


def test_an_instrument_that_tells_only_the_ends_of_its_intervals_loses_no_charge() -> None:
    time = [30.0 * index for index in range(1, 121)]  # from 0 on 1 mA: half an hour in, half an hour out
    current = [0.001 if t <= 1800 else -0.001 for t in time]
    voltage = [3.0 + t / 3600 if t <= 1800 else 3.5 - (t - 1800) / 3600 for t in time]
    (one,) = cycles(time, voltage, current)
    assert (one.charge, one.discharge) == pytest.approx((0.5, 0.5))


def test_a_rest_in_the_middle_of_a_half_does_not_begin_another_cycle() -> None:
    rows = cycled([(2.0, 1.8)])
    paused = [(t, v, 0.0 if 1000 < t < 1100 else i, n) for t, v, i, n in rows]
    (one,) = of(paused, counted=False)
    assert one.charge == pytest.approx(2.0 - 0.001 * 110 / 3.6, abs=0.005)


def test_an_error_that_a_fit_cannot_tell_is_left_out_and_no_infinity(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = ("R0", ["R0"], [5.0], [math.inf], 0.001)
    monkeypatch.setattr("labd.records.analysis.spectra._best", lambda *_: fit)
    frequency, real, imag = (list(column) for column in zip(*arc(), strict=True))
    told = analyse({"frequency": frequency, "z_real": real, "z_imag": imag})
    assert (told["r_ohmic"], told["errors"]) == (5.0, {})
    json.dumps(told, allow_nan=False)


def test_pulses_with_rests_between_are_drawn_with_the_charge_that_flowed() -> None:
    time, voltage, current = [], [], []
    for pulse in range(20):  # 10 min at 1 mA, 50 min of rest with the instrument's noise
        for second in range(0, 3600, 10):
            flows = second <= 600
            time.append(3600.0 * pulse + second)
            voltage.append(3.0 + 0.05 * (pulse + min(second, 600) / 600) - (0.0 if flows else 0.01))
            current.append(0.001 if flows else 1e-7)
    told = {"time": time, "voltage": voltage, "current": current}
    (one,) = cycles(time, voltage, current)
    drawn = curves(told)
    assert one.charge == pytest.approx(20 / 6, rel=0.02)
    assert drawn.profiles[0].capacity[-1] == pytest.approx(20 / 6, rel=0.02)
    (slope,) = drawn.incremental
    assert sum(slope.slope) * 0.005 == pytest.approx(20 / 6, rel=0.05)  # mAh over the grid's steps


def test_values_that_nobody_could_tell_are_left_out() -> None:
    rows = cycled([(2.0, 1.8)])
    rows[50] = (rows[50][0], math.nan, rows[50][2], 1.0)
    assert of(rows)[0].charge == pytest.approx(2.0)


def test_current_of_few_decimals_is_told_as_uncertain() -> None:
    (one,) = of(cycled([(2.0, 1.8)]))  # 1 mA with three decimals: ± 0.5 mA
    assert (one.charge_error, one.discharge_error) == pytest.approx((1.0, 0.9))


@pytest.mark.parametrize("apart", [10.0, 120.0, 600.0])
def test_what_sparse_rows_may_cost_an_energy_is_told(apart: float) -> None:
    time = [apart * index for index in range(round(3600 / apart) + 1)]
    curved = [3.0 + 1.2 * (t / 3600) ** 2 for t in time]
    (one,) = cycles(time, curved, [0.001] * len(time))
    exact = 3.0 + 1.2 / 3  # mWh of an hour at 1 mA
    assert one.charge_energy_sparse == pytest.approx(abs(one.charge_energy - exact), rel=0.35)
    assert one.charge_sparse == pytest.approx(0.0, abs=1e-9)


def test_rows_far_apart_of_a_current_that_fades_are_told_in_the_capacity() -> None:
    time = [600.0 * index for index in range(13)]
    (one,) = cycles(time, [4.2] * 13, [0.001 * math.exp(-t / 1800) for t in time])
    exact = 0.5 * (1 - math.exp(-4))  # mAh
    assert one.charge_sparse >= 0.8 * abs(one.charge - exact) > 0.001


def test_a_time_that_goes_back_is_refused_with_its_row() -> None:
    with pytest.raises(AnalysisError, match="goes back at row 3, from 2 s to 1 s"):
        cycles([0, 2, 1], [3, 3, 3], [0, 0, 0])


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(AnalysisError, match="2, 1, 2 rows"):
        cycles([0, 2], [3], [0, 0])


@pytest.mark.parametrize(("values", "digit"), [([1.0, 2.0], 1.0), ([0.0002, 0.1], 1e-4), ([1 / 3, 0.2], None)])
def test_the_last_decimal_is_found(values: list[float], digit: float | None) -> None:
    assert resolution(values) == digit


def test_a_straight_voltage_has_a_level_dqdv() -> None:
    told = columns(cycled([(2.4, 2.4)]))
    charge, discharge = slopes(told["time"], told["voltage"], told["current"])
    assert (charge.way, discharge.way) == ("charge", "discharge")
    assert charge.slope == pytest.approx([2.0] * len(charge.slope), rel=1e-3)
    assert discharge.slope == pytest.approx([2.0] * len(discharge.slope), rel=1e-3)


def test_a_plateau_is_a_peak_at_its_voltage() -> None:
    time = [float(index * 10) for index in range(1001)]
    voltage = [3.5 + 0.3 * math.tanh((t - 5000) / 4000) ** 3 + t / 1e5 for t in time]
    (slope,) = slopes(time, voltage, [0.001] * len(time))
    (at, _), *_ = slope.peaks()
    assert at == pytest.approx(3.55, abs=0.02)


# ── impedance ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_circuit_gives_back_its_resistances() -> None:
    found = spectrum(*zip(*arc(5.0, 20.0), strict=True))
    assert found.test.verdict == "valid"
    assert found.circuit == "R0-p(R1,CPE1)"
    assert found.r_ohmic == pytest.approx(5.0, rel=0.01)
    assert found.r_polarisation == pytest.approx(20.0, rel=0.01)


def test_a_cell_of_nothing_but_electrolyte_is_a_resistance() -> None:
    rows = [(f, 7.0, -0.001) for f, _, _ in arc()]
    assert spectrum(*zip(*rows, strict=True)).r_ohmic == pytest.approx(7.0, rel=1e-3)


@pytest.mark.parametrize("imaginary", [0.0, 0.001])
def test_a_resistance_without_any_capacitance_is_fitted_too(imaginary: float) -> None:
    rows = [(f, 7.0, imaginary) for f, _, _ in arc()]
    assert spectrum(*zip(*rows, strict=True)).r_ohmic == pytest.approx(7.0, rel=1e-3)


def test_a_spectrum_that_drifts_breaks_kramers_and_kronig() -> None:
    rows = [(f, re * (1 + 0.02 * i), im * (1 + 0.02 * i)) for i, (f, re, im) in enumerate(arc())]
    found = spectrum(*zip(*rows, strict=True))
    assert found.test.verdict == "invalid"
    assert found.test.rms is not None
    assert found.test.rms > 0.03


def test_few_points_are_not_fitted() -> None:
    found = spectrum(*zip(*arc(points=5), strict=True))
    assert (found.test.verdict, found.r_ohmic) == ("too few points", None)
    assert "5 points" in found.problem


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "impedance.validation", None)
    frequency, z_real, z_imag = zip(*arc(), strict=True)
    told = analyse({"frequency": frequency, "z_real": z_real, "z_imag": z_imag})
    assert "pip install 'labd[data]'" in told["problem"]


# ── series ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_series_without_current_is_a_rest() -> None:
    told = analyse({"time": [0.0, 1800.0, 3600.0, 7200.0], "voltage": [3.0, 2.9, 2.8, 2.8], "current": [0.0] * 4})
    assert (told["kind"], told["voltage"], told["seconds"]) == ("rest", 2.8, 7200.0)


def test_other_series_say_nothing() -> None:
    assert analyse({"time": [0.0], "temperature": [25.0]}) == {"kind": "none"}


def test_the_version_tells_the_package_that_spectra_are_fitted_with() -> None:
    assert "impedance" in version(("frequency", "z_real", "z_imag"))
    assert version(("time", "voltage", "current")) == "2"
