"""`labd-sim`: the simulators as a process of their own, which may be killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.simulators.ports import Port

LIMIT = 120.0  # s for a program to start, answer or end, on a machine that does other things too
CHARGE = "e\nvar p\nvar c\nset_pgstat_mode 6\ncell_on\nmeas_loop_cp p c 200u 30 100k\nendloop\n\n"


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


@pytest.fixture
def lab_file(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    port = str(tmp_path / "stat1")
    devices = {"stat1": {"driver": "methodscript", "settings": {"port": port}, "simulator": {}}}
    deck = [{"place": "tray/cells", "labware": "cell_tray_8", "fill": "half_cell"}]
    lab = {"store": "store", "clock": {"scaled": 600}, "devices": devices, "deck": deck}
    YAML().dump(lab, path)
    return path


async def launch(lab: Path) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators._kit.host", str(lab), stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    told = b""
    async with asyncio.timeout(LIMIT):
        while not told.endswith(b"ready\n"):
            line = await process.stdout.readline()
            assert line, (await process.communicate())[1].decode()
            told += line
    assert str(lab.parent / "stat1") in told.decode()
    return process


def charge_of(state: Path) -> float:
    passed: float = json.loads(state.read_text())["items"]["stat1/cell"]["physics"].get("passed", 0.0)
    return passed


async def charged_on_disk(state: Path, at_least: float) -> float:
    async with asyncio.timeout(LIMIT):
        while True:
            if (passed := charge_of(state)) >= at_least:
                return passed
            await asyncio.sleep(0.05)


async def end(process: Process, number: signal.Signals) -> int:
    process.send_signal(number)
    _, errors = await process.communicate()
    assert errors == b""
    assert process.returncode is not None
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_in_order_when_told(lab_file: Path, number: signal.Signals) -> None:
    process = await launch(lab_file)
    with Port(str(lab_file.parent / "stat1")) as port:
        assert (await port.ask("t")).startswith("tes4_hr")
    assert await end(process, number) == 0
    assert not (lab_file.parent / "stat1").is_symlink()


async def test_after_a_kill_the_cell_keeps_what_was_charged(lab_file: Path) -> None:
    state = lab_file.parent / "store" / "simulators" / "world.json"
    process = await launch(lab_file)
    await end(process, signal.SIGTERM)
    world = json.loads(state.read_text())
    cell = world["items"].pop("tray/cells/A1")
    cell.update(parts=["half_cell", "lid"], electrolyte={"LP57": 45.0}, crimp_force=7.8, crimped_at=0.0)
    world["items"]["stat1/cell"] = cell
    state.write_text(json.dumps(world))

    process = await launch(lab_file)
    with Port(str(lab_file.parent / "stat1")) as port:
        port.write(CHARGE)
        assert await port.line(LIMIT) == "e"
        charged = await charged_on_disk(state, at_least=0.05)
    assert await end(process, signal.SIGKILL) == -signal.SIGKILL

    process = await launch(lab_file)
    assert await end(process, signal.SIGTERM) == 0
    assert charge_of(state) >= charged


async def test_a_second_process_is_told_of_the_first(lab_file: Path) -> None:
    process = await launch(lab_file)
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators._kit.host", str(lab_file), stdout=PIPE, stderr=PIPE
    )
    _, errors = await second.communicate()
    assert second.returncode == 2
    assert b"another process runs the simulators" in errors
    await end(process, signal.SIGTERM)
