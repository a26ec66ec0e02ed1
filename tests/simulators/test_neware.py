"""The simulated cycler, asked with the bytes of the recording, and by a stranger's client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.io.worker import Worker
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.neware import END, SIMULATOR, NewareSimulator
from simulators.neware.schedule import BadSchedule, read_schedule

REST = """<?xml version="1.0"?><root><config type="Step File" version="17"><Whole_Prt>
<Protect><Main><Volt><Upper Value="43000.0"/></Volt></Main></Protect>
<Record><Main><Time Value="10000.000000"/></Main></Record></Whole_Prt>
<Step_Info Num="2"><Step1 Step_ID="1" Step_Type="4"><Limit><Main><Time Value="60000.000000"/></Main></Limit></Step1>
<Step2 Step_ID="2" Step_Type="6"/></Step_Info></config></root>"""
CHANNEL = 'ip="127.0.0.1" devtype="27" devid="21" subdevid="2" chlid="1"'


class Raw:
    """Bytes out, one message in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, command: str, body: str = "") -> str:
        head = '<?xml version="1.0" encoding="UTF-8" ?><bts version="1.0">'
        self.writer.write(f"{head}<cmd>{command}</cmd>{body}</bts>".encode() + END)
        async with asyncio.timeout(30):
            return (await self.reader.readuntil(END)).removesuffix(END).decode()

    async def login(self) -> None:
        await self.ask("connect", "<username>admin</username><password>neware</password><type>bfgs</type>")


@contextlib.asynccontextmanager
async def cycler(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[NewareSimulator, Raw]]:
    world = World(seed=3)
    world.lay_cell("cycler/21-2-1", clock.now().timestamp())
    settings = {"address": "tcp://127.0.0.1:0", "channels": ["21-1-1", "21-2-1"], "directory": "steps"}
    simulator = SIMULATOR(Bench("cycler", world, settings, options, directory=tmp_path))
    found = await simulator.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(found["address"].rpartition(":")[2]))
    try:
        yield simulator, Raw(reader, writer)
    finally:
        writer.close()
        await simulator.stop()


async def test_replies_have_the_form_of_the_recording(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (_, raw):
        assert "<result>false</result>" in await raw.ask("getdevinfo")  # nobody has logged in
        await raw.login()
        assert (
            '<channel ip="127.0.0.1" devtype="27" devid="21" subdevid="2" Channelid="1">true</channel>\r\n'
            in await raw.ask("getdevinfo")
        )
        told = await raw.ask(
            "inquire", f'<list count = "1"><inquire {CHANNEL} aux="0" barcode="1">true</inquire></list>'
        )
        assert told.startswith(
            '<?xml version="1.0" encoding="UTF-8"?>\r\n<bts version="1.0">\r\n  <cmd>inquire_resp</cmd>'
        )
        assert (
            '<inquire dev="27-21-2-1-0" cycle_id="1" step_type="--" workstatus="finish" barcode="" current="0" ' in told
        )
        download = f'<download {CHANNEL} auxid="0" testid="0" startpos="0" count="0"/>'
        assert '<cmd>donwload_resp</cmd>\r\n  <download devtype="27"' in await raw.ask("download", download)
        # some firmware tells every subdevice as 1
        status = await raw.ask("getchlstatus", f'<list count = "1"><status {CHANNEL}>true</status></list>')
        assert 'subdevid="1" chlid="1" reservepause="1">finish</status>' in status


async def test_a_test_runs_by_itself_and_records_from_zero_to_its_end(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (simulator, raw):
        await raw.login()
        start = f'<list count = "1"><start {CHANNEL} barcode="cell-1">{tmp_path}/steps/rest.xml</start></list>'
        assert ">false</start>" in await raw.ask("start", start)  # no such file
        (tmp_path / "steps" / "rest.xml").write_text(REST)
        assert ">ok</start>" in await raw.ask("start", start)
        assert ">false</start>" in await raw.ask("start", start)  # it works
        found = '<list count="1"><chl devtype="27" devid="21" subdevid="2" chlid="1" testid="0" /></list>'
        assert 'testid="1" count="1">false</chl>' in await raw.ask("inquiredf", found)
        await asyncio.sleep(61)
        assert 'testid="1" count="7">true</chl>' in await raw.ask("inquiredf", found)
        rows = simulator.channels["21-2-1"].rows
        assert [row[4] for row in rows] == [0, 10000, 20000, 30000, 40000, 50000, 60000]
        assert ">false</stop>" in await raw.ask("stop", f'<list count = "1"><stop {CHANNEL}>true</stop></list>')
        assert [entry[1] for entry in simulator.channels["21-2-1"].memory["log"]] == [100000, 100001]


async def test_what_runs_outlives_the_program(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (simulator, raw):
        await raw.login()
        (tmp_path / "steps" / "rest.xml").write_text(REST)
        await raw.ask("start", f'<list count="1"><start {CHANNEL} barcode="b">{tmp_path}/steps/rest.xml</start></list>')
        await asyncio.sleep(15)
        await simulator.stop()
        await asyncio.sleep(15)
        again = SIMULATOR(simulator.bench)
        await again.start()
        again.step(0)
        assert [row[4] for row in again.channels["21-2-1"].rows] == [0, 10000, 20000, 30000]
        await again.stop()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('type="Step File"', 'type="Other"'),
        ('Num="2"', 'Num="3"'),
        ('Step_Type="4"', 'Step_Type="99"'),
        ('<Time Value="60000.000000"/>', ""),
        ("</root>", ""),
    ],
)
def test_a_file_that_is_no_step_file_is_not_taken(old: str, new: str) -> None:
    assert len(read_schedule(REST).steps) == 2
    with pytest.raises(BadSchedule):
        read_schedule(REST.replace(old, new))


async def test_a_strangers_client_can_use_it(tmp_path: Path) -> None:
    pytest.importorskip("aurora_neware", reason="aurora-neware is not installed")
    async with cycler(tmp_path) as (simulator, _):
        (tmp_path / "steps" / "rest.xml").write_text(REST)
        port = simulator._server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        peer = Worker("aurora_neware:NewareAPI", "127.0.0.1", port)
        await peer.open()
        try:
            await peer.call("connect")
            assert set(await peer.call("getdevinfo")) == {"21-1-1", "21-2-1"}
            started = await peer.call("start", "21-2-1", "cell-1", str(tmp_path / "steps" / "rest.xml"))
            assert [one["start"] for one in started] == ["ok"]
            assert (await peer.call("inquire", "21-2-1"))["21-2-1"]["barcode"] == "cell-1"
            assert (await peer.call("getchlstatus"))["21-2-1"]["status"] == "working"
            await asyncio.sleep(61)
            told = await peer.call("inquire")
            assert told["21-2-1"]["workstatus"] == "finish"
            assert (await peer.call("get_testid", "21-2-1"))["21-2-1"]["test_id"] == 1
            data = await peer.call("download", "21-2-1", 0)
            assert (data["seqid"], data["testtime"][-1]) == ([1, 2, 3, 4, 5, 6, 7], 60000)
            assert [step["steptype"] for step in await peer.call("get_steps", "21-2-1")] == ["rest"]
            assert [entry["log_code"] for entry in await peer.call("downloadlog", "21-2-1")] == [100000, 100001]
            assert (await peer.call("stop", "21-2-1"))[0]["stop"] == "false"
            assert (await peer.call("light", "21-2-1"))[0]["light"] == "ok"
            assert (await peer.call("clearflag", "21-2-1"))[0]["clearflag"] == "false"
        finally:
            await peer.close()
