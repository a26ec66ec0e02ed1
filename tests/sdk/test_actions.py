"""Actions are declared by their signatures, and a driver cannot promise less than its role."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from labd.sdk import (
    ROLES,
    Bounds,
    Call,
    Crimper,
    Driver,
    Duration,
    Effect,
    Force,
    Quantity,
    Result,
    Volume,
    action,
    with_units,
)
from labd.sdk.roles import CrimpResult

CRIMP = ROLES["crimper"].actions["crimp"]


def test_parameters_come_in_any_unit_of_their_dimension() -> None:
    for force in ("7.8 kN", "7800 N", Quantity(7.8, "kN"), {"v": 7800, "u": "N"}):
        assert CRIMP.parameters.model_validate({"force": force}).force == pytest.approx(7.8)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"force": 7.8}, "force: 7.8 needs a unit, such as `7.8 kN`"),
        ({"force": "7.8"}, "7.8 needs a unit"),
        ({"force": "7.8 µL"}, "µL is a volume, kN a force"),
        ({"force": "1 N"}, "0.001 is below the least, 0.1"),
        ({"force": "nan kN"}, "no quantity"),
        ({"forse": "7.8 kN"}, "forse"),
        ({}, "Field required"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        CRIMP.parameters.model_validate(values)


def test_quantities_carry_their_unit_out() -> None:
    parameters = CRIMP.parameters.model_validate({"force": "7.8 kN"})
    assert with_units(parameters) == {"force": {"v": 7.8, "u": "kN"}, "dwell": {"v": 2.0, "u": "s"}}
    assert CRIMP.parameters.model_validate(with_units(parameters)) == parameters


def test_a_schema_says_unit_and_bounds() -> None:
    properties = CRIMP.schema()["parameters"]["properties"]
    assert properties["force"] == {"minimum": 0.1, "title": "Force", "type": "number", "unit": "kN"}
    assert CRIMP.schema()["effect"] == "once"


@pytest.mark.parametrize("role", ROLES.values(), ids=ROLES)
def test_every_standard_action_says_what_it_does_and_how_long_it_may_take(role: type[Driver]) -> None:
    for declared in role.actions.values():
        assert declared.summary.endswith(".")
        assert declared.timeout is not None
        assert declared.effect in Effect


class Other(Result):
    pass


class _Base(Crimper):
    async def connect(self) -> Any: ...
    async def close(self) -> None: ...
    async def read_state(self) -> Any: ...
    async def safe_state(self, unit: str | None = None) -> None: ...
    async def open_ram(self, call: Call) -> None: ...
    async def close_ram(self, call: Call) -> None: ...


def test_a_driver_narrows_bounds_and_adds_parameters_of_its_own() -> None:
    class Press(_Base):
        async def crimp(
            self,
            call: Call,
            force: Annotated[Force, Bounds(min=1, max=10)],
            dwell: Duration = 2.0,
            points: Annotated[int, Bounds(min=1, max=5)] = 5,
        ) -> CrimpResult:
            """Presses at some points."""
            raise AssertionError

    crimp = Press.actions["crimp"]
    assert crimp.effect is Effect.ONCE
    with pytest.raises(ValidationError, match="above the greatest, 10"):
        crimp.parameters.model_validate({"force": "12 kN"})
    assert crimp.parameters.model_validate({"force": "5 kN"}).points == 5  # type: ignore[attr-defined]
    assert crimp.time_limit(crimp.parameters.model_validate({"force": "5 kN", "dwell": "30 s"})) == 90


def test_a_driver_cannot_drop_a_parameter() -> None:
    with pytest.raises(TypeError, match="parameter 'force', which is missing"):

        class Press(_Base):
            async def crimp(self, call: Call, dwell: Duration = 2.0) -> CrimpResult:
                raise AssertionError


def test_a_driver_cannot_change_a_dimension() -> None:
    with pytest.raises(TypeError, match="'force' is in µL, its role's in kN"):

        class Press(_Base):
            async def crimp(self, call: Call, force: Volume, dwell: Duration = 2.0) -> CrimpResult:
                raise AssertionError


def test_a_driver_cannot_call_a_crimp_repeatable() -> None:
    with pytest.raises(TypeError, match="its role says once, not state"):

        class Press(_Base):
            @action(effect=Effect.STATE)
            async def crimp(self, call: Call, force: Force, dwell: Duration = 2.0) -> CrimpResult:
                raise AssertionError


def test_a_driver_gives_its_roles_result() -> None:
    with pytest.raises(TypeError, match="gives Other, its role says CrimpResult"):

        class Press(_Base):
            async def crimp(self, call: Call, force: Force, dwell: Duration = 2.0) -> Other:
                raise AssertionError


def test_an_action_needs_an_effect_and_a_time_limit() -> None:
    with pytest.raises(TypeError, match="needs an effect and a timeout"):

        class Press(_Base):
            @action(effect=Effect.READ)
            async def weigh(self, call: Call) -> None: ...
