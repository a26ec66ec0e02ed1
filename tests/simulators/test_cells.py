"""A cell behaves as it was built: sanity of the physics."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from simulators._kit.world import HALF_CELL, LID, Cell, World
from simulators.cells import CellModel, open_circuit_voltage
from simulators.cells.build import BLANK_CONSTANT
from simulators.cells.formulation import conductivity, of_materials
from simulators.cells.heavy import HeavyModel
from simulators.cells.many import Cells

RATE = 2e-4  # A, about C/10


def build(volume: float = 45.0, force: float = 7.8, waited: float = 240.0, name: str = "c") -> Cell:
    return Cell(
        id=name,
        parts=[HALF_CELL, LID],
        electrolyte={"LP57": volume},
        wetted_at=0.0,
        crimp_force=force,
        crimped_at=waited,
    )


def model(cell: Cell, seed: int = 1, failures: float = 0.0) -> CellModel:
    return CellModel(cell, World(seed).random(cell.id), failures=failures)


@dataclass
class Cycle:
    charge: float  # C
    discharge: float
    efficiency: float


def cycle(cell: CellModel, dt: float = 30.0, longest: float = 60 * 3600) -> Cycle:
    charge = discharge = elapsed = 0.0
    while cell.step(dt, current=RATE)[0] < 4.2 and elapsed < longest:
        charge += RATE * dt
        elapsed += dt
    while (current := cell.step(dt, voltage=4.2)[1]) > RATE / 5 and elapsed < longest:
        charge += current * dt
        elapsed += dt
    while cell.step(dt, current=-RATE)[0] > 2.8 and elapsed < 2 * longest:
        discharge += RATE * dt
        elapsed += dt
    return Cycle(charge, discharge, discharge / charge)


def test_the_open_circuit_curve_grows_everywhere() -> None:
    volts = [open_circuit_voltage(soc / 1000) for soc in range(-60, 1150)]
    assert all(low < high for low, high in itertools.pairwise(volts))
    assert open_circuit_voltage(0.0) == pytest.approx(2.5, abs=0.02)
    assert open_circuit_voltage(1.0) == pytest.approx(4.2, abs=0.02)


def test_a_new_cell_is_not_charged_and_formation_costs_a_tenth() -> None:
    cell = model(build())
    assert cell.voltage < 0.5
    first, second, third = (cycle(cell) for _ in range(3))
    assert first.discharge / 3.6 == pytest.approx(2.0, rel=0.1)  # mAh
    assert 0.85 < first.efficiency < 0.91
    assert 0.98 < second.efficiency < 1.0
    assert second.efficiency < third.efficiency < 1.0


def test_charge_is_conserved_after_formation() -> None:
    cell = model(build())
    cycle(cell)
    before = cell.soc * cell.capacity
    for _ in range(120):
        cell.step(30.0, current=-1e-4)
    assert cell.soc * cell.capacity == pytest.approx(before - 120 * 30 * 1e-4, rel=1e-3)


@pytest.mark.parametrize("dt", [0.01, 1.0, 60.0])
def test_a_step_of_any_length_ends_at_the_same_voltage(dt: float) -> None:
    cell = model(build())
    for _ in range(round(18_000 / dt) if dt >= 1 else 0):
        cell.step(dt, current=RATE)
    if dt < 1:
        cell.step(18_000 - 60.0, current=RATE)
        for _ in range(6000):
            cell.step(dt, current=RATE)
    reference = model(build())
    for _ in range(1800):
        volts, _ = reference.step(10.0, current=RATE)
    assert cell.step(1e-3, current=RATE)[0] == pytest.approx(volts, abs=2e-3)


def test_the_current_decays_at_a_constant_voltage() -> None:
    cell = model(build())
    cycle(cell)
    while cell.step(30.0, current=RATE)[0] < 4.1:
        pass
    currents = [cell.step(60.0, voltage=4.1)[1] for _ in range(60)]  # NMC's particles take an hour
    assert all(later < earlier for earlier, later in itertools.pairwise(currents))
    assert 0 < currents[-1] < RATE / 3


def test_a_cell_relaxes_at_rest() -> None:
    cell = model(build())
    for _ in range(600):
        loaded, _ = cell.step(30.0, current=RATE)
    assert cell.step(3600.0)[0] < loaded
    settled, _ = cell.step(3600.0)
    assert cell.step(24 * 3600.0)[0] == pytest.approx(settled, abs=0.01)  # hardly any self-discharge


def test_capacity_grows_with_the_dose_and_saturates() -> None:
    found = []
    for volume in (8.0, 15.0, 25.0, 45.0, 90.0):
        cell = model(build(volume))
        cycle(cell)
        found.append(cycle(cell).discharge)
    assert all(low < high for low, high in itertools.pairwise(found))
    assert found[0] < 0.4 * found[3]
    assert found[4] == pytest.approx(found[3], rel=0.02)


def test_a_weak_crimp_has_more_resistance_and_fades_fast() -> None:
    weak, good = model(build(force=6.0)), model(build())
    assert weak.impedance(5e3).real > good.impedance(5e3).real + 3
    lost = [1 - [cycle(cell).discharge for _ in range(4)][-1] / cell.build.nominal for cell in (weak, good)]
    assert lost[0] > lost[1] + 0.1


def test_too_much_force_shorts_some_cells() -> None:
    cells = [model(build(force=10.5, name=f"c{number}")) for number in range(20)]
    dead = 0
    for cell in cells:
        cell.step(18_000.0, current=RATE)
        dead += cell.step(24 * 3600.0)[0] < 3.0
    assert 3 <= dead <= 17


def test_waiting_before_the_crimp_dries_a_scarcely_wetted_cell() -> None:
    fast, slow = model(build(25.0, waited=120.0)), model(build(25.0, waited=1800.0))
    assert slow.wetted < fast.wetted - 0.1


@pytest.mark.parametrize(
    "cell",
    [
        Cell(id="open", electrolyte={"LP57": 45.0}),
        Cell(id="not crimped", parts=[HALF_CELL, LID], electrolyte={"LP57": 45.0}),
        Cell(id="dry", parts=[HALF_CELL, LID], crimp_force=7.8, crimped_at=10.0),
    ],
    ids=lambda cell: cell.id,
)
def test_what_is_no_cell_is_an_open_circuit(cell: Cell) -> None:
    open_circuit = model(cell)
    assert abs(open_circuit.step(10.0)[0]) < 5e-3
    assert abs(open_circuit.step(10.0, voltage=1.0)[1]) < 1e-8
    assert open_circuit.step(10.0, current=1e-3, limit=6.0) == (6.0, 0.0)
    assert abs(open_circuit.impedance(1.0)) > 1e6


SINGLE = ["cr2032_bottom", "spacer", "anode", "separator", "cathode", "spacer", "spring", "cr2032_top"]


def from_parts(parts: list[str]) -> CellModel:
    cell = build(40.0)
    cell.parts = parts
    return model(cell)


def test_a_cell_of_single_parts_is_worth_one_of_a_half_cell_and_a_lid() -> None:
    assert from_parts(SINGLE).capacity == model(build(40.0)).capacity


def test_a_cell_without_its_spring_has_little_capacity_and_much_resistance() -> None:
    loose, good = from_parts([part for part in SINGLE if part != "spring"]), from_parts(SINGLE)
    assert loose.capacity < 0.7 * good.capacity
    assert loose.impedance(1e4).real > good.impedance(1e4).real + 50


def test_a_cell_without_its_separator_is_shorted() -> None:
    cell = from_parts([part for part in SINGLE if part != "separator"])
    cell.step(18_000.0, current=RATE)
    assert cell.step(48 * 3600.0)[0] < 3.0


def test_a_cell_without_an_electrode_is_an_open_circuit() -> None:
    cell = from_parts([part for part in SINGLE if part != "cathode"])
    assert abs(cell.step(10.0)[0]) < 5e-3


def blank(electrolyte: dict[str, float], temperature: float = 25.0, name: str = "blank") -> CellModel:
    cell = Cell(
        id=name,
        parts=["blank_cell", "blank_lid"],
        electrolyte=electrolyte,
        wetted_at=0.0,
        crimp_force=7.8,
        crimped_at=240.0,
    )
    return CellModel(cell, World(1).random(name), temperature=temperature, failures=0.0)


@pytest.mark.parametrize("name", ["LP57", "LP30", "1M LiPF6 in EC", "0.5M LiPF6 in EMC"])
def test_a_blank_cell_tells_how_its_electrolyte_conducts(name: str) -> None:
    cell = blank({name: 80.0})
    found = 10 * BLANK_CONSTANT / cell.impedance(1e5).real  # mS/cm
    assert found == pytest.approx(conductivity(of_materials({name: 1.0})), rel=0.1)
    assert not cell.live
    assert abs(cell.step(10.0)[0]) < 5e-3


def test_a_blank_cell_has_the_same_impedance_among_many_and_by_pybamm() -> None:
    one = blank({"LP57": 80.0})
    for others in (Cells([one.build]).impedance(1e5)[0], HeavyModel.of_build(one.build).impedance(1e5)):
        assert others == pytest.approx(one.impedance(1e5))  # PyBaMM itself is not asked for that


def test_blank_cells_of_one_electrolyte_vary_by_some_percent() -> None:
    found = [BLANK_CONSTANT / blank({"LP57": 80.0}, name=f"b{n}").impedance(1e5).real for n in range(60)]
    mean = sum(found) / len(found)
    assert 0.01 < (sum((each - mean) ** 2 for each in found) / len(found)) ** 0.5 / mean < 0.05


def test_the_ohmic_part_of_a_cell_falls_with_the_conductivity() -> None:
    good, poor = build(), build()
    poor.electrolyte = {"1M LiPF6 in EMC": 45.0}
    assert model(poor).ohmic > model(good).ohmic + 3
    cold = CellModel(build(), World(1).random("c"), temperature=-10.0, failures=0.0)
    assert cold.ohmic > model(good).ohmic + 2


def test_a_cell_that_is_cooled_gives_less() -> None:
    cell = model(build())
    cycle(cell)
    warm = cycle(cell).discharge
    cell.temperature = -10.0
    assert cycle(cell).discharge < 0.97 * warm


def test_a_voltage_is_met_from_anywhere() -> None:
    cell = model(build())
    for volts in (8.0, -3.0, 4.2, 0.0, 3.7, 0.0, -1.0, 4.9):
        rested = cell.voltage
        found, amps = cell.step(1e-3, voltage=volts)
        assert found == volts
        assert 0 < amps / (volts - rested) < 1 / cell.ohmic
        assert cell.step(600.0, voltage=volts)[0] == volts


def test_impedance_is_a_semicircle_with_a_diffusion_tail() -> None:
    cell = model(build())
    cell.step(18_000.0, current=RATE)
    cell.step(3600.0)
    spectrum = [cell.impedance(10 ** (5 - index / 10)) for index in range(81)]  # 100 kHz to 1 mHz
    real = [z.real for z in spectrum]
    assert all(low <= high + 1e-9 for low, high in itertools.pairwise(real))
    arc = [-z.imag for z in spectrum]
    top = max(range(20, 50), key=arc.__getitem__)  # of the semicircle
    assert arc[10] < arc[top] > arc[top + 12]
    assert real[0] == pytest.approx(cell.ohmic, rel=0.2)


def test_the_seed_decides_and_repeats() -> None:
    one, same, other = (model(build(), seed) for seed in (1, 1, 2))
    assert one.capacity == same.capacity != other.capacity
    spread = [model(build(name=f"c{number}")).capacity for number in range(200)]
    mean = sum(spread) / len(spread)
    deviation = (sum((value - mean) ** 2 for value in spread) / len(spread)) ** 0.5 / mean
    assert 0.015 < deviation < 0.03


def test_one_cell_in_twenty_fails_without_a_cause() -> None:
    cells = [model(build(name=f"c{number}"), failures=0.05) for number in range(400)]
    dead = sum(not cell.live for cell in cells)
    shorted = sum(cell.live and cell.build.shunt < 1e6 for cell in cells)
    loose = sum(cell.live and cell.build.contact > 40 for cell in cells)
    assert 10 <= dead + shorted + loose <= 30
    assert min(dead, shorted, loose) > 0
    assert [cell.live for cell in cells] == [model(build(name=f"c{n}"), failures=0.05).live for n in range(400)]


def test_a_cell_goes_on_where_it_was_after_a_restart() -> None:
    cell = build()
    before = model(cell)
    before.step(18_000.0, current=RATE)
    after = model(Cell.model_validate_json(cell.model_dump_json()))
    assert after.soc == pytest.approx(before.soc)
    assert after.step(10.0, current=RATE) == pytest.approx(before.step(10.0, current=RATE))


def test_a_cell_that_is_taken_back_goes_the_same_way_again() -> None:
    cell = model(build(force=6.0))
    cell.step(7200.0, current=RATE)
    before = dict(cell.cell.physics)
    told = [cell.step(3600.0, current=RATE) for _ in range(4)]
    cell.cell.physics.update(before)
    assert [cell.step(3600.0, current=RATE) for _ in range(4)] == told


def test_a_cell_of_an_older_world_goes_on_without_its_diffusion() -> None:
    cell = build()
    model(cell).step(18_000.0, current=RATE)
    before = model(cell).soc
    for name in ("m", "i", "fading", "leaking"):
        del cell.physics[name]
    after = model(cell)
    assert after.soc == pytest.approx(before)
    assert after.step(60.0)[0] == pytest.approx(open_circuit_voltage(before), abs=1e-3)


def test_a_source_gives_no_more_than_it_can() -> None:
    cell = model(build())
    assert cell.step(1.0, voltage=4.2, limit=3e-3)[1] == pytest.approx(3e-3)
