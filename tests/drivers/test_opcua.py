"""Profiles and settings of the OPC UA drivers, and what they make of values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.opcua import DRIVER
from drivers.opcua.profile import SHIPPED, Measured, Watched, Worded, load
from drivers.opcua.watch import Ages, count, number, word
from drivers.opcua_glovebox import DRIVER as GLOVEBOX
from labd.io.opcua import Value
from labd.sdk import Setup

ADDRESS = "opc.tcp://10.0.0.7"
FOLDER = Path(__file__).parents[2] / "drivers" / "opcua"
AT = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for kind, names in SHIPPED.items() for name in names])
def test_shipped_profiles_are_sound(name: str, kind: str) -> None:
    assert load(name, kind).kind == kind


@pytest.mark.parametrize(
    ("profile", "old", "new", "words"),
    [
        ("glovebox", "unit: mbar", "unit: kg", "pressure|mbar"),
        ("glovebox", "1: open", "1: ajar", "ajar: its words are closed, moving, open"),
        ("glovebox", "node: Glovebox/Oxygen", "nod: Glovebox/Oxygen", "oxygen.nod"),
        ("glovebox", "{call: Glovebox/Antechamber/Open}", "{}", "either `call` .* or `write`"),
        ("glovebox", "{call: Glovebox/Antechamber/Open}", "{call: Open}", "a method belongs to an object"),
        ("packml", "within: [Cleared, Running]", "ready: [Idel]", "Idel: PackML's states are"),
        ("packml", "start: 10 s", "start: 10 kg", "times.start"),
        ("packml", "kind: machine", "kind: toaster", "kind|tag"),
        ("lads", "state:", "state: [", "is no YAML"),
    ],
)
def test_a_flawed_profile_is_told_with_its_place(tmp_path: Path, profile: str, old: str, new: str, words: str) -> None:
    text = (FOLDER / f"{profile}.yaml").read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=words):
        load(str(path), "glovebox" if profile == "glovebox" else "machine")


def test_a_profile_of_the_other_role_and_one_that_is_not_there_are_told() -> None:
    with pytest.raises(ValueError, match="is for a glovebox, and this driver for a machine"):
        load(str(FOLDER / "glovebox.yaml"), "machine")
    with pytest.raises(ValueError, match=r"neither shipped \(packml, lads\) nor a file"):
        load("pakml", "machine")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": "10.0.0.7"}, "write `opc.tcp://"),
        ({"profile": "none"}, "neither shipped"),
        ({"security": "basic256sha256"}, "needs `certificate` and `private_key`"),
        ({"password_file": "x"}, "`user` is missing"),
        ({"security": "basic128"}, "security"),
    ],
)
def test_settings_that_do_not_hold_are_told(settings: dict[str, Any], words: str) -> None:
    for driver in (DRIVER, GLOVEBOX):
        with pytest.raises(ValidationError, match=words):
            driver(Setup("d", {"address": ADDRESS, **settings}))


async def test_a_value_ages_by_its_sources_stamp_and_not_by_ours() -> None:
    ages, watched = Ages(), Watched(node="n", max_age=60)
    assert ages.young(watched, Value(1, "Good", AT, AT))  # a PLC whose clock is years off
    assert ages.young(watched, Value(1, "Good", AT, AT))
    assert not ages.young(Watched(node="m", max_age=60), Value(1, "Good", AT, AT + timedelta(seconds=61)))
    assert ages.young(Watched(node="s"), Value(1, "Good", AT, AT + timedelta(days=9)))
    assert ages.young(watched, Value(1, "Good", AT + timedelta(seconds=1), AT))


@pytest.mark.parametrize(
    ("value", "unit", "factor", "wanted"),
    [(0.5, "ppm", 1, 0.5), (3, "mbar", 1, 3.0), (2.0, "Pa", 100, 2.0), (True, "ppm", 1, None), ("x", "ppm", 1, None)],
)
def test_numbers_come_in_our_unit(value: Any, unit: str, factor: float, wanted: float | None) -> None:
    target = "ppm" if unit == "ppm" else "mbar"
    assert number(Measured(node="n", unit=unit, factor=factor), {"n": value}, target) == wanted


def test_what_is_no_word_and_no_count_is_none() -> None:
    worded = Worded.model_validate({"node": "n", "words": {0: "closed", True: "open"}})
    assert [word(worded, {"n": value}) for value in (0, True, 7, None)] == ["closed", "open", None, None]
    assert [count("n", {"n": value}) for value in (7, True, "7", None)] == [7, None, None, None]
    assert number(Measured(node="n", unit="ppm"), {"n": float("nan")}, "ppm") is None
