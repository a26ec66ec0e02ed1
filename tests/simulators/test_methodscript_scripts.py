"""What scripts do: techniques on a cell, variables, loops, conditions."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.simulators.conftest import MakeStand, Stand, crimped_cell
from tests.simulators.ports import Port

FACTORS = dict(zip("afpnum kMGTPE", [10.0**power for power in range(-18, 19, 3)], strict=True))


def values(line: str) -> list[float]:
    """The numbers of a package."""
    found = []
    for part in line[1:].split(";"):
        text = part.split(",")[0][2:]
        found.append(float(int(text[:7], 16) - 0x8000000) * (1 if text[7] == "i" else FACTORS[text[7]]))
    return found


def packages(output: list[str]) -> list[list[float]]:
    return [values(line) for line in output if line.startswith("P")]


async def run(port: Port, script: str) -> list[str]:
    port.write(f"e\n{script.strip()}\n\n")
    return await port.lines()


async def test_a_formation_cycle_gives_less_than_it_took(stand: Stand) -> None:
    _, port = stand
    output = await run(
        port,
        """
var p
var c
var q
store_var q 0 ja
set_pgstat_mode 6
set_range db 1m
set_i 0
cell_on
meas_loop_cp p c 200u 30 60k
  add_var q c
  if p >= 4200m
    breakloop
  endif
endloop
alter_vartype q ja
pck_start
  pck_add p
  pck_add q
pck_end
store_var q 0 ja
meas_loop_cp p c -200u 30 60k
  sub_var q c
  if p <= 2800m
    breakloop
  endif
endloop
pck_start
  pck_add p
  pck_add q
pck_end
on_finished:
cell_off
""",
    )
    assert [line[0] for line in output] == ["e", "M", "*", "P", "M", "*", "P"]
    (top, charge), (bottom, discharge) = packages(output)
    assert top == pytest.approx(4.2, abs=0.01)
    assert bottom == pytest.approx(2.8, abs=0.15)
    assert 0.8 < discharge / charge < 0.92
    assert discharge * 30 / 3.6 == pytest.approx(1.95, rel=0.1)


async def test_points_come_at_their_times(stand: Stand) -> None:
    _, port = stand
    begun = asyncio.get_running_loop().time()
    output = await run(
        port,
        "var p\nvar t\ntimer_start\nmeas_loop_ocp p 500m 2\ntimer_get t\npck_start\npck_add t\npck_add p\n"
        "pck_end\nendloop",
    )
    assert output[:2] == ["e", "M000B"]
    assert [point[0] for point in packages(output)] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert asyncio.get_running_loop().time() - begun == pytest.approx(2.0, abs=0.01)


async def test_a_constant_voltage_phase_lets_the_current_decay(stand: Stand) -> None:
    _, port = stand
    output = await run(
        port,
        "var p\nvar c\nset_pgstat_mode 3\nset_range_minmax da 0 4200m\nset_range ba 10m\n"
        "set_autoranging ba 1u 10m\nset_e 3500m\ncell_on\nmeas_loop_ca p c 3500m 10 600\n"
        "pck_start\npck_add p\npck_add c\npck_end\nendloop\non_finished:\ncell_off",
    )
    assert output[1] == "M0007"
    assert all(re.fullmatch(r"Pda\S+;ba.{8},1\d,2[0-9A-F]{2}", line) for line in output if line.startswith("P"))
    currents = [current for _, current in packages(output)]
    assert len(currents) == 60
    assert currents[0] > currents[20] > currents[59] > 0


async def test_impedance_runs_from_high_to_low_frequency(stand: Stand) -> None:
    _, port = stand
    output = await run(
        port,
        "var h\nvar r\nvar j\nset_pgstat_mode 3\nset_e 100m\ncell_on\nmeas_loop_eis h r j 10m 100k 1 51 100m\n"
        "pck_start\npck_add h\npck_add r\npck_add j\npck_end\nendloop\non_finished:\ncell_off",
    )
    assert output[1] == "M000D"
    points = packages(output)
    assert len(points) == 51
    assert points[0][0] == pytest.approx(1e5)
    assert points[-1][0] == pytest.approx(1.0)
    assert points[0][1] < 10 < points[-1][1]
    assert min(point[2] for point in points) < -2


async def test_voltammetry_turns_at_its_vertices_scan_by_scan(stand: Stand) -> None:
    _, port = stand
    output = await run(
        port,
        "var p\nvar c\nset_pgstat_mode 3\nset_range ba 10m\nset_e 0\ncell_on\n"
        "meas_loop_cv p c 0 500m -500m 100m 100m nscans(2)\npck_start\npck_add p\npck_add c\npck_end\nendloop\n"
        "on_finished:\ncell_off",
    )
    assert output[:3] == ["e", "M0005", "C0000"]
    assert [line for line in output if line[0] in "C-*"] == ["C0000", "-", "C0001", "-", "*"]
    first = [round(potential, 3) for potential, _ in packages(output)[:21]]
    assert max(first) == 0.5
    assert min(first) == -0.5
    assert first[0] == first[20] == 0.0
    linear = await run(
        port,
        "var p\nvar c\nset_pgstat_mode 3\nset_e 0\ncell_on\nmeas_loop_lsv p c 0 500m 100m 100m\n"
        "pck_start\npck_add p\npck_end\nendloop\non_finished:\ncell_off",
    )
    assert linear[1] == "M0000"
    assert [round(point[0], 3) for point in packages(linear)] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


async def test_variables_loops_and_conditions(stand: Stand) -> None:
    _, port = stand
    output = await run(
        port,
        """
var i      # a comment
array a 3i
store_var i 0i ja
loop i < 3i
  store_var a[i] 2i ja
  mul_var a[i] i
  if a[i] == 0i
    send_string "nought"
  elseif a[i] == 2i
    send_string f"a = {a[i]}"
  else
    pck_start
    pck_add a[i]
    pck_end
  endif
  add_var i 1i
endloop
copy_var a[1i] i
div_var i 2i
pck_start
pck_add i
pck_end
abort
send_string "never"
on_finished:
send_string "finished"
""",
    )
    assert output == ["e", "L", "Tnought", "Ta = 2", "Pja8000004i", "+", "Pja8000001i", "Tfinished"]


async def test_an_endless_loop_keeps_nobody_from_the_line(stand: Stand) -> None:
    _, port = stand
    port.write("e\nloop 1i == 1i\nendloop\n\n")
    assert [await port.line(), await port.line()] == ["e", "L"]
    port.write("Z\n")
    assert await port.lines() == ["Z", "+"]


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("var p\nvar c\nset_pgstat_mode 3\nmeas_loop_ca p c 0 1 2\nendloop", "!4027: Line 4"),
        ("var p\nset_pgstat_mode 3\ncell_on\nmeas_loop_ocp p 1 2\nendloop", "!0014: Line 4"),
        ("set_pgstat_mode 3\nset_e 7", "!000F: Line 2"),
        ("set_pgstat_mode 6\nset_i 500m", "!000F: Line 2"),
        ("var p\nmeas_loop_ocp p 10u 1\nendloop", "!005A: Line 2"),
        ("var p\npck_add p", "!401B: Line 2"),
        ("array a 2i\nstore_var a[2i] 1 ja", "!0028: Line 2"),
    ],
)
async def test_what_cannot_be_done_stops_the_script(stand: Stand, script: str, fault: str) -> None:
    _, port = stand
    assert (await run(port, script))[-1] == fault


async def test_the_pico_is_no_galvanostat(make_stand: MakeStand) -> None:
    _, port = await make_stand(model="emstat_pico")
    assert await run(port, "set_pgstat_mode 6\nset_i 0\ncell_on") == ["e", "!0021: Line 1"]


async def test_without_a_cell_the_galvanostat_hits_its_rail(make_stand: MakeStand) -> None:
    _, port = await make_stand(cell=False)
    output = await run(
        port,
        "var p\nvar c\nset_pgstat_mode 6\ncell_on\nmeas_loop_cp p c 100u 1 2\npck_start\npck_add p\npck_add c\n"
        "pck_end\nendloop\non_finished:\ncell_off",
    )
    package = next(line for line in output if line.startswith("P"))
    assert ",12," in package.split(";")[0]  # overload
    assert values(package)[0] == pytest.approx(6.0, abs=0.01)
    assert abs(values(package)[1]) < 2e-5


async def test_a_lost_contact_is_seen_at_once(stand: Stand) -> None:
    simulator, port = stand
    script = "var p\nmeas 1 p ab\npck_start\npck_add p\npck_end"
    cell = simulator.front.cell
    assert cell is not None
    cell.step(18_000.0, current=2e-4)
    assert packages(await run(port, script))[0][0] > 3.0
    simulator.faults["open_circuit"] = True
    assert abs(packages(await run(port, script))[0][0]) < 0.01


async def test_a_cell_that_is_carried_to_another_holder_rests_on_the_way(stand: Stand) -> None:
    simulator, port = stand
    world = simulator.world
    script = "var p\nvar c\nset_pgstat_mode 6\ncell_on\nmeas_loop_cp p c 200u 60 6k\nendloop\non_finished:\ncell_off"
    await run(port, script)
    cell = world.take("stat1/cell")
    assert cell is not None
    loaded = max(map(abs, cell.physics["m"]))  # type: ignore[union-attr]
    await asyncio.sleep(3600.0)
    world.put("stat1/cell", cell)
    measured = packages(await run(port, "var p\nmeas 1 p ab\npck_start\npck_add p\npck_end"))[0][0]
    assert max(map(abs, cell.physics["m"])) < 1e-3 * loaded  # type: ignore[union-attr]
    assert measured > 2.5


async def test_the_same_seed_gives_the_same_bytes(make_stand: MakeStand) -> None:
    script = (
        "e\nvar p\nvar c\nset_pgstat_mode 6\ncell_on\nmeas_loop_cp p c 200u 10 100\npck_start\npck_add p\npck_add c\n"
        "pck_end\nendloop\non_finished:\ncell_off\n\n"
    )
    outputs = []
    for seed in (1, 1, 2):
        simulator, port = await make_stand(seed=seed)
        simulator.world.take("stat1/cell")
        simulator.world.put("stat1/cell", crimped_cell())
        port.write(script)
        outputs.append(await port.lines())
        await simulator.stop()
    assert outputs[0] == outputs[1]
    assert outputs[0] != outputs[2]


async def test_physics_can_be_stepped_by_hand(stand: Stand) -> None:
    simulator, port = stand
    await run(port, "set_pgstat_mode 6\nset_i 200u\ncell_on")
    cell = simulator.front.cell
    assert cell is not None
    before = cell.cell.physics["passed"]
    simulator.step(3600.0)
    assert cell.cell.physics["passed"] - before == pytest.approx(0.72, rel=0.01)
