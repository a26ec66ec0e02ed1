"""Drivers of cyclers and SourceMeters on a line that says anything else than what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drivers.keithley import DRIVER as KEITHLEY
from drivers.neware import DRIVER as NEWARE
from drivers.neware.wire import Channel
from labd.sdk import DeviceError, Driver, OutcomeUnknown, Setup
from tests.wires.hostile import GARBAGE, talker

KINDS: dict[str, type[Driver]] = {"neware": NEWARE, "keithley": KEITHLEY}


def driver_of(kind: str, port: int, directory: Path) -> Driver:
    settings: dict[str, Any] = {"address": f"127.0.0.1:{port}", "max_current": 0.01}
    if kind == "neware":
        settings |= {"channels": ["21-1-1"], "directory": str(directory)}
    return KINDS[kind](Setup("cell", settings))


@pytest.mark.parametrize("answer", GARBAGE)
@pytest.mark.parametrize("kind", KINDS)
async def test_garbage_is_a_devices_error_and_nothing_else(kind: str, answer: bytes, tmp_path: Path) -> None:
    async with talker(answer) as port:
        driver = driver_of(kind, port, tmp_path)
        with pytest.raises(DeviceError):
            await driver.connect()
        with pytest.raises(DeviceError):
            await driver.safe_state()
        await driver.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cut_is_told_as_one(kind: str, tmp_path: Path) -> None:
    async with talker(b"", cut=True) as port:
        driver = driver_of(kind, port, tmp_path)
        with pytest.raises(DeviceError):
            await driver.connect()
        await driver.close()
        await driver.close()


@pytest.mark.parametrize(
    "rows",
    [
        '<data seqid="1" stepid="1" testtime="nan" volt="1" curr="1" cap="0" />',
        '<data seqid="x" stepid="1" testtime="1" volt="1" curr="1" cap="0" />',
        '<data stepid="1" testtime="1" volt="1" curr="1" cap="0" />',
    ],
)
async def test_rows_without_numbers_are_none(rows: str, tmp_path: Path) -> None:
    head = '<bts version="1.0"><cmd>donwload_resp</cmd><download testid="7" startpos="1" />'
    async with talker(f"{head}<list>{rows}</list></bts>\n\n#\r\n".encode()) as port:
        driver: Any = driver_of("neware", port, tmp_path)
        await driver._bts.link.open()
        with pytest.raises(OutcomeUnknown, match="of something else"):
            await driver._bts.rows(Channel("21-1-1", "127.0.0.1", "27"), 7, 1)
        await driver.close()


async def test_rows_with_a_gap_are_taken_up_to_it_and_doubles_once(tmp_path: Path) -> None:
    rows = "".join(
        f'<data seqid="{number}" stepid="1" testtime="{number}000" volt="1" curr="1" cap="0" />'
        for number in (1, 1, 2, 4, 5)
    )
    head = '<bts version="1.0"><cmd>donwload_resp</cmd><download testid="7" startpos="1" />'
    async with talker(f"{head}<list>{rows}</list></bts>\n\n#\r\n".encode()) as port:
        driver: Any = driver_of("neware", port, tmp_path)
        await driver._bts.link.open()
        found = await driver._bts.rows(Channel("21-1-1", "127.0.0.1", "27"), 7, 1)
        assert [row.number for row in found] == [1, 2]
        await driver.close()
