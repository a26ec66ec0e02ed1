"""The neware driver against what a real BTS 8.0 server has said, and its step files against the facts."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.neware import DRIVER, Neware
from drivers.neware.orders import Orders
from labd.io.transcript import ReplayLink, Transcript
from labd.sdk import Setup, Unreachable

TRANSCRIPT = Path(__file__).parents[1] / "transcripts" / "neware_look.jsonl"
SETTINGS: dict[str, Any] = {"address": "10.0.0.7", "channels": ["21-1-1", "21-1-2"], "max_current": 0.01}
ORDERS = Orders("cycler", 2.5, 4.3, 0.01, 0.02)


def driver_of(directory: Path, **settings: Any) -> Neware:
    return DRIVER(Setup("cycler", {**SETTINGS, "directory": str(directory), **settings}))


async def test_a_transcript_of_a_real_cycler(tmp_path: Path) -> None:
    driver = driver_of(tmp_path)
    link = driver._bts.link = ReplayLink(Transcript.read(TRANSCRIPT))  # type: ignore[assignment]
    about = await driver.connect()
    assert about.model == "BTS 8, device type 27"
    state = await driver.read_state()
    first, second = state["21-1-1"], state["21-1-2"]
    assert (first.state, first.voltage, first.current, first.cycle) == ("finish", 3.8834, 0.0, None)
    assert (second.state, second.voltage, second.current, second.cycle) == ("working", 4.6947, -0.0003, 44)
    assert (second.step, second.barcode) == ("dc", "251203_kigr_gen17_02")
    assert await driver.baseline("cycle", "21-1-1") == {"test": 143}
    channel = driver._channel("21-1-1")
    rows = await driver._bts.rows(channel, 143, 219576)
    assert [row.number for row in rows] == list(range(219576, 219586))
    assert rows[-1].time == pytest.approx(36136.4)
    # 0.295 mA for ten hours: the file's unit of charge is Ah
    assert rows[-1].charge == pytest.approx(-rows[-1].current * rows[-1].time / 3.6, rel=1e-3)
    assert not await driver._bts.start(channel, "run-1-001", "C:\\labd\\run-1-001.xml", "C:\\Neware data")
    assert await driver._bts.stop(channel)
    assert not link.player.rest
    await driver.close()


def steps_of(text: str) -> list[tuple[str, dict[str, float]]]:
    info = ET.fromstring(text).find("config/Step_Info")
    assert info is not None
    return [
        (
            step.get("Step_Type", ""),
            {limit.tag: float(limit.get("Value", "nan")) for limit in step.iterfind("Limit/*/*")},
        )
        for step in info
    ]


def test_a_step_file_of_cycling_in_the_files_own_units() -> None:
    test = ORDERS.cycle(4.2, 2.8, 3, None, 0.1, 2.0, 2e-5, 600.0, 10.0, 360000.0)
    text = test.text("run-1-001", ORDERS.protection)
    half = {"Time": 3.6e8}
    assert steps_of(text) == [
        ("1", {"Curr": 0.2, "Stop_Volt": 42000.0, **half}),
        ("3", {"Volt": 42000.0, "Curr": 0.2, "Stop_Curr": 0.02, **half}),
        ("4", {"Time": 600000.0}),
        ("2", {"Curr": 0.2, "Stop_Volt": 28000.0, **half}),
        ("4", {"Time": 600000.0}),
        ("5", {"Start_Step": 1.0, "Cycle_Count": 3.0}),
        ("6", {}),
    ]
    config = ET.fromstring(text).find("config")
    assert config is not None
    assert (config.get("type"), config.get("version")) == ("Step File", "17")
    values = {
        path: float(found.get("Value", "nan"))
        for path in (
            "Protect/Main/Volt/Upper",
            "Protect/Main/Volt/Lower",
            "Protect/Main/Curr/Upper",
            "Record/Main/Time",
        )
        if (found := config.find(f"Whole_Prt/{path}")) is not None
    }
    assert list(values.values()) == pytest.approx([43200, 24800, 10.5, 10000])
    assert [found.get("Value") for found in config.iterfind("Head_Info/Remark")] == ["run-1-001"]


def test_a_single_step_has_no_loop_and_a_discharge_no_sign() -> None:
    text = ORDERS.constant_current(-1e-3, 3600.0, None, 1.0).text("a", ORDERS.protection)
    assert steps_of(text) == [("2", {"Curr": 1.0, "Time": 3.6e6, "Stop_Volt": 25000.0}), ("6", {})]
    held = ORDERS.constant_voltage(3.0, 60.0, None, 1.0, charges=False).text("a", ORDERS.protection)
    assert steps_of(held) == [("19", {"Volt": 30000.0, "Curr": 10.0, "Time": 60000.0}), ("6", {})]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"channels": ["1-1"]}, "should match pattern"),
        ({"channels": []}, "at least 1 item"),
        ({"channels": ["1-1-1", "1-1-1"]}, "one stands twice"),
        ({"min_voltage": 5.0}, "min_voltage, 5 V, must be below max_voltage, 5 V"),
        ({"address": "http://x/y"}, "no address"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=text):
        driver_of(tmp_path, **change)


def test_two_devices_of_a_lab_may_part_the_channels_of_a_server(tmp_path: Path) -> None:
    assert driver_of(tmp_path).own_link() is None


async def test_nobody_at_the_address_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="nobody listens"):
        await driver_of(tmp_path, address="127.0.0.1:1").connect()
