"""The line of a MethodSCRIPT instrument: its commands, its errors, its faults."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulators.conftest import MakeStand, Stand
from tests.simulators.ports import Port

OCP = "e\nvar p\nmeas_loop_ocp p 1 {seconds}\npck_start\npck_add p\npck_end\nendloop\n\n"
CHARGE = """e
var p
var c
set_pgstat_mode 6
set_i 0
cell_on
meas_loop_cp p c 200u 10 {seconds}
pck_start
pck_add p
pck_add c
pck_end
endloop
on_finished:
send_string "finished"
cell_off

"""


async def test_it_says_who_it_is(stand: Stand) -> None:
    _, port = stand
    assert (await port.ask("t")).startswith("tes4_hr")
    assert await port.line() == "R*"
    serial = await port.ask("i")
    assert serial.startswith("i")
    assert len(serial) > 4
    assert (await port.ask("v")).startswith("v")
    assert (await port.ask("CC")).startswith("CC")


@pytest.mark.parametrize(("model", "name"), [("emstat4_lr", "tes4_lr"), ("pico", "tespico"), ("nexus", "tnexus")])
async def test_other_instruments_name_themselves(make_stand: MakeStand, model: str, name: str) -> None:
    _, port = await make_stand(model=model)
    assert (await port.ask("t")).lstrip("\x11").startswith(name)


async def test_an_unknown_command_and_an_abort_while_idle_are_refused(stand: Stand) -> None:
    _, port = stand
    assert await port.ask("Q17") == "Q!0003"
    await asyncio.sleep(0.15)
    assert await port.ask("Z") == "Z!0006"


async def test_what_comes_right_after_an_error_is_lost(stand: Stand) -> None:
    _, port = stand
    await port.ask("Z")
    port.write("i\n")
    assert await port.silence(1.0)
    assert (await port.ask("i")).startswith("i")


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("var p\nmeas_loop_xyz p 1 2\n", "e!4001: Line 2, Col 1"),
        ("var p\n  add_var p q\n", "e!420B: Line 2, Col 13"),
        ("var p\nstore_var p 0.5 ja\n", "e!4004: Line 2, Col 13"),
        ("var p\nvar p\n", "e!4026: Line 2, Col 5"),
        ("var p\nmeas_loop_ocp p 1 2\n", "e!4018: Line 2, Col 1"),
        ("endif\n", "e!400E: Line 1, Col 1"),
        ("wait 1 2\n", "e!420A: Line 1, Col 8"),
        ("# " + "x" * 126 + "\n", "e!0008: Line 1, Col 128"),
    ],
)
async def test_a_script_with_a_mistake_is_refused_with_line_and_column(stand: Stand, script: str, answer: str) -> None:
    _, port = stand
    port.write(f"e\n{script}\n")
    assert await port.line() == answer
    assert await port.silence(60.0)


async def test_a_script_may_be_loaded_and_run_again(stand: Stand) -> None:
    _, port = stand
    assert await port.ask("r") == "r!000C"
    await asyncio.sleep(0.15)
    port.write('l\nsend_string "again"\n\n')
    assert await port.line() == "l"
    for _ in range(2):
        port.write("r\n")
        assert await port.lines() == ["r", "Tagain"]


async def test_an_abort_ends_the_loop_and_finishes_in_order(stand: Stand) -> None:
    simulator, port = stand
    port.write(CHARGE.format(seconds=3600))
    assert [await port.line() for _ in range(2)] == ["e", "M000A"]
    await port.line(11.0)
    assert await port.ask("i") == "i!0006"
    await asyncio.sleep(0.15)
    port.write("Z\n")
    assert await port.lines() == ["Z", "*", "Tfinished"]
    assert not simulator.front.on


async def test_a_loop_may_be_ended_and_the_script_goes_on(stand: Stand) -> None:
    _, port = stand
    port.write('e\nvar p\nmeas_loop_ocp p 1 1000\nendloop\nsend_string "on"\n\n')
    assert [await port.line(), await port.line()] == ["e", "M000B"]
    port.write("Y\n")
    assert await port.lines() == ["Y", "*", "Ton"]


async def test_a_halted_script_stands_still_while_the_current_flows_on(stand: Stand) -> None:
    simulator, port = stand
    port.write(CHARGE.format(seconds=30))
    assert [await port.line(), await port.line()] == ["e", "M000A"]
    assert await port.ask("h") == "h"
    assert await port.silence(3600.0)
    port.write("H\n")
    output = await port.lines()
    assert output[0] == "H"
    assert len([line for line in output if line.startswith("P")]) == 3
    cell = simulator.front.cell
    assert cell is not None
    assert cell.cell.physics["passed"] == pytest.approx(200e-6 * 3600, rel=0.02)


async def test_a_run_time_error_skips_the_finish_and_leaves_the_cell_on(make_stand: MakeStand) -> None:
    simulator, port = await make_stand(critical=2)
    port.write(CHARGE.format(seconds=3600))
    output = await port.lines()
    assert output[-1] == "!0032: Line 6"
    assert len([line for line in output if line.startswith("P")]) == 2
    assert simulator.front.on
    await asyncio.sleep(3600.0)
    port.write("e\ncell_off\n\n")
    assert await port.lines() == ["e"]
    assert not simulator.front.on
    cell = simulator.front.cell
    assert cell is not None
    assert cell.cell.physics["passed"] == pytest.approx(200e-6 * 3630, rel=0.02)


async def test_a_programme_goes_on_when_nobody_reads(make_stand: MakeStand) -> None:
    simulator, port = await make_stand()
    port.close()
    path = str(simulator.pty.link)
    with Port(path) as other:
        other.write(OCP.format(seconds=30_000))
    await asyncio.sleep(30_100.0)
    with Port(path) as again:
        output = await again.lines()
        assert output[-1] == "*"  # the newest are kept, the oldest lost
        assert len(output) < 30_000
        assert (await again.ask("i")).startswith("i")
        port._fd = 0  # closed above
    port.close = lambda: None  # type: ignore[method-assign]


async def test_a_busy_instrument_refuses_everything(make_stand: MakeStand) -> None:
    _, port = await make_stand(busy=True)
    assert await port.ask("t") == "t!0006"


async def test_a_silent_line_says_nothing_until_it_is_back(make_stand: MakeStand) -> None:
    simulator, port = await make_stand(silent=True)
    port.write("i\n")
    assert await port.silence(10.0)
    simulator.faults["silent"] = False
    assert (await port.ask("i")).startswith("i")


async def test_a_late_answer_comes_late_and_in_order(make_stand: MakeStand) -> None:
    simulator, port = await make_stand(delay=3.0)
    port.write("i\n")
    assert await port.silence(2.9)
    del simulator.faults["delay"]
    port.write("v\n")
    assert (await port.line(0.2)).startswith("i")
    assert (await port.line(0.2)).startswith("v")


async def test_packages_may_be_cut_spoilt_or_bare(make_stand: MakeStand) -> None:
    simulator, port = await make_stand(cut_package=True)
    port.write(OCP.format(seconds=3))
    output = await port.lines()
    assert len(output) == 5  # two packages have become one line
    assert output[2].count("P") == 2
    simulator.faults.update(garble_package=True, bare_package=True)
    port.write(OCP.format(seconds=2))
    output = await port.lines()
    assert output[2] == "P"
    assert "~" in "".join(output)


async def test_the_pico_sends_flow_control_bytes(make_stand: MakeStand) -> None:
    _, port = await make_stand(model="emstat_pico")
    assert (await port.ask("t")).startswith("\x11t")
