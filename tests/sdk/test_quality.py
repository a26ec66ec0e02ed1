"""A driver's grade."""

from __future__ import annotations

import datetime as dt

import pytest

from labd.sdk import Driver, Grade, Quality


def test_a_driver_that_says_nothing_is_a_draft() -> None:
    assert str(Driver.quality) == "draft"


def test_each_grade_takes_in_those_before_it() -> None:
    grades = [Quality(grade, "1.3", "2026-11-20") for grade in ("draft", "simulated", "recorded", "hardware-verified")]
    for number, one in enumerate(grades):
        assert [one.at_least(grade) for grade in Grade] == [index <= number for index in range(4)]


def test_hardware_verified_names_the_day_and_the_firmware() -> None:
    quality = Quality("hardware-verified", firmware="1.3", on="2026-11-20")
    assert quality.on == dt.date(2026, 11, 20)
    assert str(quality) == "hardware-verified on 2026-11-20, firmware 1.3"
    for lacking in ({"firmware": "1.3"}, {"on": "2026-11-20"}, {}):
        with pytest.raises(ValueError, match="needs the day"):
            Quality("hardware-verified", **lacking)


def test_there_are_no_other_grades() -> None:
    with pytest.raises(ValueError, match="perfect"):
        Quality("perfect")
