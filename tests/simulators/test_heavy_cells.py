"""PyBaMM behind the face of the light model, and the two compared."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pybamm", reason="PyBaMM is not installed: pip install 'labd[physics]'")

from simulators._kit.world import HALF_CELL, LID, Cell, World
from simulators.cells import CellModel, accuracy, heavy
from simulators.cells.many import Cells
from simulators.cells.virtual import outcome

pytestmark = pytest.mark.filterwarnings("default")  # PyBaMM's own are not ours to mend


def made(name: str = "c", parts: list[str] | None = None) -> Cell:
    return Cell(
        id=name,
        parts=parts or [HALF_CELL, LID],
        electrolyte={"LP57": 45.0},
        wetted_at=0.0,
        crimp_force=7.8,
        crimped_at=240.0,
    )


def pair() -> tuple[heavy.HeavyModel, CellModel]:
    return tuple(model(made(), World(1).random("c"), failures=0.0) for model in (heavy.HeavyModel, CellModel))  # type: ignore[return-value]


@pytest.mark.parametrize("rate", list(accuracy.ALLOWED))
def test_the_light_model_is_near_a_dfn_of_today(rate: float, record_property: Any) -> None:
    times, volts = heavy.discharge("DFN", rate, 60)
    error = accuracy.rmse(accuracy.discharge(rate, times), volts)
    print(f"{rate} C: {error:.2f} mV against the DFN that is installed")  # noqa: T201
    record_property("rmse_mv", error)
    assert error <= accuracy.ALLOWED[rate]


def test_both_models_form_cycle_and_step_alike() -> None:
    theirs, one = pair()
    ours = Cells([one.build])
    for cycle in (ours.cycle(5e-4), ours.cycle(5e-4)):
        charge, discharge = theirs.cycle(5e-4)
        print(f"{discharge:.4f} mAh of {charge:.4f}, the light model {cycle.discharge[0]:.4f} of {cycle.charge[0]:.4f}")  # noqa: T201
        assert discharge == pytest.approx(cycle.discharge[0], rel=0.005)
        assert charge == pytest.approx(cycle.charge[0], rel=0.02)
    worst = 0.0
    for imposed in ({"current": 5e-4},) * 12 + ({},) * 2 + ({"voltage": 3.9},) * 3 + ({"current": -3e-4},) * 3:
        volts, amps = theirs.step(600.0, **imposed)
        (light,), (flown,) = ours.step(600.0, **imposed)
        worst = max(worst, abs(volts - light))
        assert amps == pytest.approx(flown, rel=0.1, abs=1e-6)
    print(f"largest difference of the two: {1e3 * worst:.1f} mV")  # noqa: T201
    assert worst < 0.01
    assert theirs.soc == pytest.approx(ours.soc[0], abs=0.01)


def test_a_source_gives_no_more_than_it_can() -> None:
    theirs, _ = pair()
    volts, amps = theirs.step(60.0, voltage=4.2, limit=1e-3)
    assert amps == pytest.approx(1e-3)
    assert volts < 4.2
    assert theirs.q == pytest.approx(heavy.UNCHARGED * theirs.capacity + 0.7 * 60 * 1e-3, rel=0.05)


def test_both_models_have_the_same_ohmic_part() -> None:
    theirs, ours = pair()
    for _ in range(12):
        theirs.step(600.0, current=3e-4)
        ours.step(600.0, current=3e-4)
    one, other = theirs.spectrum([2e4, 1.0]), [ours.impedance(2e4), ours.impedance(1.0)]
    assert one[0].real == pytest.approx(other[0].real, rel=0.03)
    assert one[1].real == pytest.approx(other[1].real, rel=0.2)
    assert one[1].imag < 0


def test_what_is_no_cell_is_an_open_circuit() -> None:
    dead = heavy.HeavyModel(made(parts=[HALF_CELL]), World(1).random("c"))
    assert dead.step(10.0, current=1e-3, limit=6.0) == (6.0, 0.0)
    assert dead.step(10.0, voltage=1.0) == (1.0, 0.0)
    assert abs(dead.impedance(1.0)) > 1e6


def test_a_virtual_experiment_may_ask_pybamm() -> None:
    light, theirs = (outcome({"LP30": 45.0}, cycles=1, model=model) for model in ("light", "pybamm"))
    assert set(light) - set(theirs) == {"energy", "energy_efficiency_1"}
    assert theirs["capacity"] == pytest.approx(light["capacity"], rel=0.01)
    assert theirs["r_ohmic"] == pytest.approx(light["r_ohmic"], rel=0.05)


def test_a_pool_of_processes_cycles_cells() -> None:
    theirs, _ = pair()
    (found,) = heavy.cycle_many([theirs.build], 1, 1e-3, workers=1)
    assert found[0][1] == pytest.approx(1.88, rel=0.05)
