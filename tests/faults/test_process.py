"""`labd-sim lab.yaml`: a whole simulated lab for other people's tools, on fixed ports and links; faults by hand."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import serial

from simulators._kit.process import table
from tests.ports import free_port

LIMIT = 120.0  # s for a program to start, answer or end, on a machine that does other things too
SIM = [sys.executable, "-m", "simulators._kit.host"]
LAB = """\
labd: 1
lab: bench
store: store
devices:
  press: {{driver: plc_crimper, settings: {{address: "modbus://127.0.0.1:{press}"}}, simulator: {{}}}}
  rtu: {{driver: plc_crimper, settings: {{address: "{folder}/rtu"}}, simulator: {{}}}}
  ot2: {{driver: opentrons, settings: {{address: "http://127.0.0.1:{ot2}"}}, simulator: {{}}}}
  scale: {{driver: mt_sics, settings: {{address: "{folder}/scale"}}, simulator: {{}}}}
"""


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


@dataclass(frozen=True)
class Site:
    lab: Path
    press: int
    ot2: int

    @property
    def folder(self) -> Path:
        return self.lab.parent


@pytest.fixture
def site(tmp_path: Path) -> Site:
    press, ot2 = free_port(), free_port()
    lab = tmp_path / "lab.yaml"
    lab.write_text(LAB.format(folder=tmp_path, press=press, ot2=ot2), encoding="utf-8")
    return Site(lab, press, ot2)


async def run(*command: object) -> tuple[int, str]:
    """A program's end: its status and all that it said."""
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=PIPE, stderr=asyncio.subprocess.STDOUT)
    async with asyncio.timeout(LIMIT):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@contextlib.asynccontextmanager
async def simulated(site: Site, *options: object) -> AsyncIterator[tuple[Process, str]]:
    """The lab at work, and what it said before it was ready."""
    process = await asyncio.create_subprocess_exec(*SIM, str(site.lab), *map(str, options), stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        said = ""
        async with asyncio.timeout(LIMIT):
            while not said.endswith("ready\n"):
                line = await process.stdout.readline()
                assert line, (await process.communicate())[1].decode()
                said += line.decode()
        yield process, said
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


def installed(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


async def test_it_says_what_listens_where_and_how_to_reach_it(site: Site) -> None:
    async with simulated(site, "--control", "127.0.0.1:0") as (_, said):
        press, rtu, ot2, scale, control, ready = said.splitlines()
    assert press.split() == [
        *["press:", "CrimperSimulator", "at", f"modbus://127.0.0.1:{site.press}"],
        *f"mbpoll -m tcp -a 1 -t 4 -0 -r 0 -c 4 -1 -p {site.press} 127.0.0.1".split(),
    ]
    assert rtu.endswith(f"mbpoll -m rtu -a 1 -b 19200 -P none -t 4 -0 -r 0 -c 4 -1 {site.folder}/rtu")
    assert ot2.endswith(f"curl -s -H 'Opentrons-Version: *' http://127.0.0.1:{site.ot2}/health")
    assert scale.endswith(f"{site.folder}/scale  python -m serial.tools.miniterm {site.folder}/scale")
    assert control.startswith("control: curl -s http://127.0.0.1:")
    assert ready == "ready"


async def test_the_lines_that_it_prints_for_modbus_work_and_so_do_faults(site: Site) -> None:
    installed("mbpoll")
    async with simulated(site) as (_, said):
        for name in ("press", "rtu"):
            line = next(line for line in said.splitlines() if line.startswith(f"{name}:"))
            command = line[line.index("mbpoll") :].split()
            status, told = await run(*command, "-o", "10")  # it waits for a second by itself
            assert (status, "[3]: \t0" in told) == (0, True), told
            status, told = await run(*SIM, "fault", name, "drop", "--lab", site.lab)
            assert status == 0, told
            status, told = await run(*command)
            assert status != 0
            assert "timed out" in told
            status, told = await run(*SIM, "clear", name, "--lab", site.lab)
            assert (status, told) == (0, "1 fault ended\n")
            assert (await run(*command, "-o", "10"))[0] == 0


async def test_curl_reaches_the_robot_and_the_control(site: Site) -> None:
    curl = installed("curl")
    async with simulated(site, "--control", "127.0.0.1:0") as (_, said):
        health = [curl, "-s", "-m", "60", "-H", "Opentrons-Version: *", f"http://127.0.0.1:{site.ot2}/health"]
        assert '"name": "ot2"' in (await run(*health))[1]
        control = next(line for line in said.splitlines() if line.startswith("control:")).split()[-1]
        body = '{"fault": "cut", "for": "1 h"}'
        _, told = await run(curl, "-s", "-X", "POST", "-d", body, f"{control}/ot2/faults")
        assert '"state": "on"' in told
        status, _ = await run(*health)
        assert status in (52, 56)  # curl's own: an empty reply, or a reset
        assert '"cleared": 1' in (await run(curl, "-s", "-X", "DELETE", f"{control}/ot2/faults"))[1]
        assert '"name": "ot2"' in (await run(*health))[1]


def weighed(path: Path) -> bytes:
    with serial.Serial(str(path), 9600, timeout=60) as port:
        port.write(b"SI\r\n")
        return bytes(port.read_until(b"\r\n"))


async def test_pyserial_weighs_and_a_technician_lets_it_overload(site: Site) -> None:
    async with simulated(site):
        assert (await asyncio.to_thread(weighed, site.folder / "scale")).endswith(b"g\r\n")
        status, told = await run(*SIM, "fault", "scale", "overload", "for=1 h", "--lab", site.lab)
        assert (status, told.startswith("overload is number 1: on, for 3600 s, so far once")) == (0, True), told
        assert await asyncio.to_thread(weighed, site.folder / "scale") == b"S +\r\n"
        _, told = await run(*SIM, "devices", "--lab", site.lab)
        assert "  1  overload: on" in told
        assert f"scale: MtSicsSimulator at {site.folder / 'scale'}" in told
        _, told = await run(*SIM, "fault", "scale", "drift", "rate=5 mg/h", "after=3 requests", "--lab", site.lab)
        assert told == "drift is number 2: waiting, rate 0.005 g/h, after 3 requests, so far never\n"
        assert "scale: overload begins" in (await run(*SIM, "story", "--lab", site.lab))[1]
        status, told = await run(*SIM, "power-cycle", "scale", "--off", "100 ms", "--lab", site.lab)
        assert (status, told) == (0, "scale is off, and will be on again\n")


async def test_a_client_is_told_what_it_cannot_do(site: Site) -> None:
    status, told = await run(*SIM, "devices", "--lab", site.lab)
    assert status == 1
    assert "no simulators answer" in told
    assert (await run(*SIM, "fault", "scale", "drop", "now", "--lab", site.lab))[0] == 2
    async with simulated(site):
        status, told = await run(*SIM, "fault", "scale", "drfit", "--lab", site.lab)
        assert (status, "did you mean `drift`?" in told) == (2, True)
        status, told = await run(*SIM, "clear", "scale", "drift", "--lab", site.lab)
        assert (status, "scale has no fault 'drift'" in told) == (1, True)


async def test_a_file_of_faults_is_met_and_a_bad_one_is_refused_before_anything_listens(site: Site) -> None:
    faults = site.folder / "faults.yaml"
    faults.write_text("labd: 1\nfaults:\n  - {device: scale, fault: overload}\n")
    async with simulated(site, "--faults", faults):
        assert await asyncio.to_thread(weighed, site.folder / "scale") == b"S +\r\n"
    faults.write_text("labd: 1\nfaults:\n  - {device: scales, fault: overload}\n")
    status, told = await run(*SIM, site.lab, "--faults", faults)
    assert status == 2
    assert f"{faults}:3:14: F201 there is no simulated device `scales`\n      → did you mean `scale`?" in told
    status, told = await run(*SIM, site.lab, "--control", "8041")
    assert (status, "write `--control 127.0.0.1:8041`" in told) == (2, True)


async def test_a_port_that_is_taken_is_named_with_its_mend(site: Site) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", site.press))):
        status, told = await run(*SIM, site.lab)
    assert status == 2
    assert f"labd-sim: press: modbus://127.0.0.1:{site.press} is taken by another program; stop that" in told
    site.lab.write_text(site.lab.read_text().replace(f"127.0.0.1:{site.press}", "192.0.2.7:1502"))
    status, told = await run(*SIM, site.lab)
    assert (status, "is no address of this machine; write 127.0.0.1" in told) == (2, True)


def test_an_address_is_told_where_a_daemon_of_the_same_lab_would_not_find_it(tmp_path: Path) -> None:
    said = {"near": "ports/near", "far": "127.0.0.1:0", "line": "serial://ports/line?baudrate=9600"}
    found = {
        "near": f"{tmp_path}/ports/near",
        "far": "127.0.0.1:4711",
        "line": f"serial://{tmp_path}/ports/line?baudrate=9600",
    }
    lab = {"devices": {name: {"settings": {"address": address}} for name, address in said.items()}}
    simulators: dict[str, Any] = dict.fromkeys(said, SimpleNamespace(BY_HAND={}))
    told = table(simulators, {name: {"address": address} for name, address in found.items()}, lab, tmp_path)
    assert told[3:] == ["far: lab.yaml says address '127.0.0.1:0': a daemon needs '127.0.0.1:4711' there"]
