"""What an instrument says, line by line."""

from __future__ import annotations

import math

import pytest

from drivers.methodscript import wire
from drivers.methodscript.wire import Echo, End, Error, Garbage, Mark, Package, Text


@pytest.mark.parametrize(
    ("line", "types", "values"),
    [
        ("Pda84E63DAn;ba82AB973f,14,284", ("da", "ba"), (5.13737e-3, 2.799987e-9)),
        ("Pda7F85F3Fu;ba48D503Dp,10,288", ("da", "ba"), (-0.499905, -57.847747e-6)),
        ("Pda806EC24u;baAE16C6Dp,10,288", ("da", "ba"), (0.453668, 48.327789e-6)),
        (
            "PdcDF5DFF4u;cc896D904m,10,287;cd82DB1A8u,10,287",
            ("dc", "cc", "cd"),
            (99.999732, 9885.956, 2.9946),
        ),
    ],
)
def test_the_lines_of_the_protocols_manual(line: str, types: tuple[str, ...], values: tuple[float, ...]) -> None:
    package = wire.read(line)
    assert isinstance(package, Package)
    assert package.types == types
    assert tuple(value.value for value in package.values) == values


def test_status_and_range_stand_behind_a_value() -> None:
    underload = wire.read_value("ba82AB973f,14,284")
    assert (underload.status, underload.range, underload.overload) == (4, 0x84, False)
    assert wire.read_value("ba82AB973f,12,284").overload
    assert wire.read_value("ba82AB973f,18").overload
    assert wire.read_value("ba82AB973f,1A,284,40").status == 0xA


def test_digits_are_cut_before_the_prefix() -> None:
    assert wire.read_value("ba800000Aa").value == 10e-18
    assert wire.read_value("ba800000EE").value == 14e18
    assert wire.read_value("ee8000003i").value == 3
    assert wire.read_value("eb8000E10 ").value == 3600


def test_not_a_number_is_five_blanks() -> None:
    assert math.isnan(wire.read_value("da     nan,12").value)


def test_a_bare_package_line_is_an_empty_package() -> None:
    assert wire.read("P") == Package(())


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("e!4001: Line 2, Col 20", Error("e", "4001", 2, 20)),
        ("!0028: Line 4", Error("", "0028", 4)),
        ("Z!0006", Error("Z", "0006")),
        ("!7FFF", Error("", "7FFF")),
    ],
)
def test_errors(line: str, error: Error) -> None:
    assert wire.read(line) == error


def test_an_error_says_what_it_means() -> None:
    assert str(Error("", "0032", 7)).startswith("error 0032 in line 7 of the script: critical overload")


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("", End()),
        ("e", Echo("e")),
        ("M0007", Mark("M0007")),
        ("*", Mark("*")),
        ("C0001", Mark("C0001")),
        ("-", Mark("-")),
        ("L", Mark("L")),
        ("+", Mark("+")),
        ("Thello", Text("hello")),
    ],
)
def test_other_lines(line: str, event: object) -> None:
    assert wire.read(line) == event


@pytest.mark.parametrize("line", ["Pda84E63DA", "PdaG4E63DAn", "Pda84E63DAnba82AB973f", "\\xff\\x00", "M007", "P;da"])
def test_damaged_lines_are_garbage_and_nothing_worse(line: str) -> None:
    assert isinstance(wire.read(line), Garbage)
