"""Dimensions, without pint and with it."""

from __future__ import annotations

import pytest

from labd.expr import types
from labd.sdk.unit_table import BASES
from labd.sdk.units import DEFAULT_UNITS


@pytest.mark.parametrize("text", BASES)
def test_what_is_known_of_a_default_unit_is_what_pint_says(text: str) -> None:
    assert BASES[text] == (types._vector(text), types._scale(text))


def test_each_default_unit_but_the_point_on_a_scale_is_known() -> None:
    assert set(DEFAULT_UNITS.values()) - set(BASES) == {"°C"}
