"""Virtual experiments: figures of cells that nobody built."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from simulators.cells.virtual import outcome

LP57 = {"EC": 0.3, "EMC": 0.7, "molarity": 1.0}


def test_a_good_cell_has_the_figures_of_one() -> None:
    found = outcome(LP57, cycles=3)
    assert found["capacity"] == pytest.approx(1.93, rel=0.03)
    assert 85 < found["ce_1"] < 90  # in %, as the figures of a run are
    assert 99 < found["ce_3"] < 100
    assert 90 < found["energy_efficiency_3"] < 100
    assert found["conductivity"] == pytest.approx(9.1, rel=0.03)
    assert found["r_ohmic"] == pytest.approx(6.3, rel=0.1)
    assert found["energy"] == pytest.approx(found["capacity"] * 3.7, rel=0.05)


def test_retention_counts_from_the_first_discharge_as_a_runs_does() -> None:
    found = outcome(LP57, cycles=4)
    assert found["retention"] == pytest.approx(100 * found["capacity_4"] / found["capacity_1"])
    assert 98 < found["retention"] < 100


def test_additives_help_and_water_harms() -> None:
    usual, vc, wet = (outcome(LP57 | more, cycles=5)["retention"] for more in ({}, {"VC": 0.02}, {"water": 500.0}))
    assert wet < usual < vc


def test_materials_may_be_named_in_place_of_parts() -> None:
    assert outcome({"LP57": 45.0}, cycles=1) == pytest.approx(outcome(LP57, cycles=1), rel=2e-3)


def test_dose_force_wait_and_temperature_count() -> None:
    usual = outcome(LP57, cycles=2)
    assert outcome(LP57, dose=15.0, cycles=2)["capacity"] < 0.7 * usual["capacity"]
    assert outcome(LP57, force=6.0, cycles=2)["r_ohmic"] > usual["r_ohmic"] + 3
    assert outcome(LP57, dose=25.0, wait=1800.0, cycles=2)["capacity"] < usual["capacity"]
    assert outcome(LP57, temperature=0.0, cycles=2)["capacity"] < usual["capacity"] - 0.03


def test_a_seed_makes_replicates_that_vary_as_in_the_field() -> None:
    found = [outcome(LP57, cycles=1, seed=number)["capacity"] for number in range(40)]
    mean = sum(found) / len(found)
    deviation = (sum((each - mean) ** 2 for each in found) / len(found)) ** 0.5 / mean
    assert 0.014 < deviation < 0.035
    assert outcome(LP57, cycles=1, seed=3)["capacity"] == found[3]


def test_of_a_dead_cell_only_its_electrolyte_is_measured_and_nothing_is_zero() -> None:
    found = [outcome(LP57, cycles=1, seed=number, failures=1.0) for number in range(12)]
    names = set(outcome(LP57, cycles=1))
    assert {frozenset(each) for each in found} == {frozenset(names)}
    known = [{name for name, value in each.items() if math.isfinite(value)} for each in found]
    assert {"conductivity", "viscosity"} in known
    assert names in known


@pytest.mark.parametrize(
    ("point", "cycles", "said"),
    [({"E-17b": 40.0}, 1, "no such material: E-17b"), ({}, 1, "none is named"), (LP57, 0, "0 cycles")],
)
def test_what_cannot_be_made_is_refused(point: dict[str, float], cycles: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        outcome(point, cycles=cycles)


def test_without_pybamm_its_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'labd\[physics\]'"):
        outcome(LP57, model="pybamm")


def test_one_cell_needs_no_numpy() -> None:
    code = "import sys, simulators.cells.virtual, simulators.neware; print('numpy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
