"""Quantities never lose their unit."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.sdk import Quantity, UnitError, units
from labd.sdk.unit_table import KNOWN
from labd.sdk.units import DEFAULT_UNITS, convert, parse, plain, registry, unit


@pytest.mark.parametrize(
    ("text", "value", "default"),
    [
        ("35 µL", 35.0, "µL"),
        ("35 μL", 35.0, "µL"),  # the other µ, which keyboards also give
        ("35uL", 35.0, "µL"),
        ("0.035 mL", 35.0, "µL"),
        ("7800 N", 7.8, "kN"),
        ("1e-3 mol/L", 0.001, "mol/L"),
        ("25 degC", 25.0, "°C"),
        ("25 °C", 25.0, "°C"),
        ("5 K", 5.0, "K"),
        ("20 min", 1200.0, "s"),
        ("50 ppm", 50.0, "ppm"),
        ("6 hPa", 6.0, "mbar"),
        ("780 daN", 7.8, "kN"),
        ("2 kWh", 2000.0, "Wh"),
        ("-100 mV", -0.1, "V"),
    ],
)
def test_a_text_becomes_a_number_in_the_default_unit(text: str, value: float, default: str) -> None:
    assert parse(text) == Quantity(value, default)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("35", "35 needs a unit"),
        ("µL", "no quantity"),
        ("35 kX", "unknown unit 'kX'"),
        ("100 hh", "unknown unit 'hh'"),  # hectohours: pint takes every prefix before every unit
        ("5 qs", "unknown unit 'qs'"),
        ("5 mmin", "unknown unit 'mmin'"),
        ("nan kN", "no quantity"),
        ("inf s", "no quantity"),
        ("1e999 s", "not finite"),
        ("9**9**9 s", "no quantity"),
        ("1 __import__('os')", "no quantity"),
        ("1 kg*m^2*s^7", "dimension that labd does not use"),
        ("1:30", "no quantity"),
    ],
)
def test_what_is_no_quantity_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(UnitError, match=told.replace("*", r"\*")):
        parse(text)


def test_a_temperature_is_a_point_and_a_difference_is_in_kelvin() -> None:
    assert unit("degC").dimension == "temperature"
    assert unit("K").dimension == "temperature difference"
    with pytest.raises(UnitError, match="temperature"):
        convert(5, "K", "degC")


def test_every_default_unit_is_its_own_default() -> None:
    for dimension, text in DEFAULT_UNITS.items():
        found = unit(text)
        assert (found.dimension, found.default) == (dimension, text)
        assert found.factor == pytest.approx(1)
        assert found.offset == pytest.approx(0)


@given(st.floats(-1e6, 1e6), st.sampled_from(["µL", "mL", "nL"]))
def test_conversion_goes_there_and_back(value: float, text: str) -> None:
    assert convert(convert(value, text, "µL"), "µL", text) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "text", "told"),
    [
        (1e-4, "A", "100 µA"),
        (7.8, "kN", "7.8 kN"),
        (0.02, "kN", "20 N"),
        (36_000, "s", "10 h"),
        (90, "s", "90 s"),
        (0, "A", "0 A"),
    ],
)
def test_people_read_the_prefix_that_fits(value: float, text: str, told: str) -> None:
    assert plain(value, text) == told


def test_a_unit_is_known_whatever_was_converted_before() -> None:
    registry.Quantity(1.0, registry.parse_units("g")).to_base_units()
    unit.cache_clear()
    assert parse("1 kg") == Quantity(1000.0, "g")


@pytest.mark.parametrize("text", KNOWN)
def test_what_is_known_of_a_unit_is_what_pint_says(text: str) -> None:
    assert unit(text) == units._looked_up(text)


def test_a_lab_of_usual_units_starts_without_pint() -> None:
    code = (
        "from labd import daemon; from labd.sdk.units import parse; parse('35 µL'); import sys; print(set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'labd.sdk.units'" in loaded
    assert "'pint'" not in loaded
    assert "'numpy'" not in loaded
