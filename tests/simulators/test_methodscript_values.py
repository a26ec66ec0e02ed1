"""Numbers on the wire, as recorded from instruments and quoted in the field's clients."""

from __future__ import annotations

import math

import pytest

from simulators.methodscript.values import encode, literal, package


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("da", 5.13737e-3, "da84E63DAn"),
        ("ba", 2.799987e-9, "ba82AB973f"),
        ("da", -0.499905, "da7F85F3Fu"),
        ("ba", -57.847747e-6, "ba48D503Dp"),
        ("da", 0.453668, "da806EC24u"),
        ("ba", 48.327789e-6, "baAE16C6Dp"),
        ("dc", 99.999732, "dcDF5DFF4u"),
        ("cc", 9885.956, "cc896D904m"),
        ("cd", 2.9946, "cd82DB1A8u"),
        ("eb", 0.0, "eb8000000 "),
        ("ee", 17, "ee8000011i"),
        ("ab", math.nan, "ab     nan"),
    ],
)
def test_a_value_has_the_finest_prefix_that_holds_it(kind: str, value: float, text: str) -> None:
    assert encode(kind, value) == text


def test_metadata_follow_in_hex() -> None:
    assert package("ba", 2.799987e-9, 4, 0x84) == "ba82AB973f,14,284"
    assert package("cc", 9885.956, 0, 0x87) == "cc896D904m,10,287"
    assert package("eb", 1.0) == "eb80F4240u"


@pytest.mark.parametrize(
    ("text", "value"),
    [("500u", 5e-4), ("-500m", -0.5), ("10i", 10), ("100k", 1e5), ("0", 0.0), ("0x0F", 15), ("0b101", 5), ("2M", 2e6)],
)
def test_literals_take_a_prefix(text: str, value: float) -> None:
    assert literal(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0.5", "1e3", "m", "5x", "", "--1", "99999999999"])
def test_a_literal_has_neither_point_nor_exponent(text: str) -> None:
    assert literal(text) is None
