"""What the packages of a technique come to."""

from __future__ import annotations

import pytest

from drivers.methodscript.techniques import (
    Charge,
    ConstantCurrent,
    Cycle,
    Impedance,
    OpenCircuit,
    Voltammetry,
    ohmic_resistance,
)
from drivers.methodscript.wire import Package, Value
from labd.sdk import Rejected

NAN = float("nan")


def package(types: str, *values: float) -> Package:
    return Package(tuple(Value(kind, value) for kind, value in zip(types.split(), values, strict=True)))


def test_a_constant_current_for_an_hour_is_its_charge() -> None:
    charge = Charge()
    for second in range(10, 3601, 10):
        charge.add(second, 1e-3)
    assert charge.total == pytest.approx(1.0)  # mAh


def test_within_a_part_charge_is_a_trapezoid_and_across_parts_the_new_current_counts() -> None:
    charge = Charge()
    charge.add(0, 2.0, (1, 1))
    charge.add(1, 0.0, (1, 1))
    charge.add(2, -3.0, (1, 4))
    charge.add(3, NAN, (1, 4))
    assert charge.of((1, 1)) * 3.6 == pytest.approx(1.0)
    assert charge.of((1, 4)) * 3.6 == pytest.approx(-3.0)


def cycling(*points: tuple[float, float, float, int, int]) -> Cycle:
    technique = Cycle("", 10, lower=2.8, upper=4.2, drive=1e-3)
    for point in points:
        technique.take(package("eb ab db ee ee", *point))
    return technique


def test_capacity_and_efficiency_of_each_cycle() -> None:
    technique = cycling(
        (3600, 4.2, 1e-3, 1, 1),
        (3660, 4.1, 1e-3, 1, 3),  # at rest the last current still stands in the package
        (3660 + 3240, 2.8, -1e-3, 1, 4),
        (6900 + 3600, 4.2, 1e-3, 2, 1),
        (10500 + 3420, 2.8, -1e-3, 2, 4),
    )
    result = technique.result()
    assert result.capacities == pytest.approx([0.9, 0.95])
    assert result.coulombic_efficiencies == pytest.approx([90, 95])
    assert result.capacity == pytest.approx(0.95)
    assert result.reason == "cycles"


def test_a_rest_carries_no_current() -> None:
    technique = Cycle("", 10, lower=2.8, upper=4.2, drive=1e-3)
    assert technique.take(package("eb ab ba ee ee", 10, 3.9, 1e-3, 1, 3)) == (10, 3.9, 0.0, 1)


def test_a_cancelled_discharge_has_no_capacity() -> None:
    technique = cycling(
        (3600, 4.2, 1e-3, 1, 1), (7200, 2.8, -1e-3, 1, 4), (9000, 4.2, 1e-3, 2, 1), (9500, 3.5, -1e-3, 2, 4)
    )
    technique.cancelled = True
    result = technique.result()
    assert len(result.capacities) == 1
    assert result.reason == "cancelled"


def test_a_half_cycle_that_its_time_limit_ended_is_named() -> None:
    assert "time limit ended a half of 1" in cycling((3600, 4.0, 1e-3, 1, 1), (7200, 2.8, -1e-3, 1, 4)).result().reason


def test_cycles_that_were_not_seen_whole_are_not_counted() -> None:
    technique = Cycle("", 10, lower=2.8, upper=4.2, drive=1e-3)
    technique.taken_up()
    for point in (
        (7000, 2.9, -1e-3, 1, 4),
        (7010, 2.8, -1e-3, 1, 4),
        (10610, 4.2, 1e-3, 2, 1),
        (14210, 2.8, -1e-3, 2, 4),
    ):
        technique.take(package("eb ab db ee ee", *point))
    result = technique.result()
    assert result.capacities == pytest.approx([1.0])
    assert "taken up" in result.reason


@pytest.mark.parametrize(("voltage", "reason"), [(4.2, "voltage"), (4.0, "time"), (2.4, "limit")])
def test_why_a_constant_current_ended(voltage: float, reason: str) -> None:
    technique = ConstantCurrent("", 1, low=2.5, high=4.2, until=4.2)
    technique.take(package("eb ab db", 10, voltage, 1e-3))
    assert technique.result().reason == reason


def test_a_package_of_something_else_is_no_row() -> None:
    technique = OpenCircuit("", 1)
    assert technique.take(Package(())) is None
    assert technique.take(package("ab", 3.0)) is None
    assert technique.take(package("eb ab", 1, NAN)) == (1, None, 0.0)


def test_nothing_measured_is_nothing_to_report() -> None:
    with pytest.raises(Rejected, match="before its first point"):
        OpenCircuit("", 1).result()


def test_the_peak_is_the_largest_current_with_its_sign() -> None:
    technique = Voltammetry("", 1)
    for second, current in enumerate((1e-6, -5e-6, 3e-6)):
        technique.take(package("eb da ba", second, 0.1, current))
    assert technique.result().peak_current == -5e-6


def test_z_imag_is_as_on_the_wire() -> None:
    technique = Impedance("", 1)
    assert technique.take(package("dc cc cd", 1e3, 20.0, -3.0)) == (1e3, 20.0, -3.0)


@pytest.mark.parametrize(
    ("points", "resistance"),
    [
        ([(1e5, 10.0, 2.0), (1e4, 12.0, -2.0), (1e3, 20.0, -8.0)], 11.0),  # an inductive end: between the two
        ([(1e5, 10.0, -0.5), (1e4, 12.0, -2.0)], 10.0),
        ([(1e2, 10.0, -9.0)], None),
        ([], None),
    ],
)
def test_the_ohmic_resistance(points: list[tuple[float, float, float]], resistance: float | None) -> None:
    assert ohmic_resistance(points) == resistance
