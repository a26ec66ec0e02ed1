"""The figures of a run, and the analyses that are kept of its series."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Event, SeriesInfo, SignalStore
from labd.records import Analyst, Figures, analysis, figures
from tests.records.cell import cycled, spectrum

RUN = "run-0001"
STARTED = "2026-01-01T08:00:00.000000Z"
CYCLING = (("time", "s"), ("voltage", "V"), ("current", "A"), ("cycle", ""))
IMPEDANCE = (("frequency", "Hz"), ("z_real", "Ω"), ("z_imag", "Ω"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SignalStore]:
    store = await SignalStore.open(tmp_path / "signals.sqlite")
    yield store
    await store.close()


def put(store: SignalStore, number: int, action: str, columns: Any, rows: Any) -> None:
    series = f"{RUN}-{number:03d}"
    store.create(SeriesInfo(series, "stat1", "1", RUN, action, STARTED, columns))
    for row in rows:
        store.append(series, tuple(row))


def run(*actions: tuple[str, str, dict[str, Any]], outcome: str = "complete", **more: Any) -> list[Event]:
    """Events of a run whose actions are (state, action, result); a result `{"failed": why}` is a failure."""
    told: list[tuple[str, dict[str, Any]]] = [
        ("run.started", {"sample": "cell-1", "protocol": "p", "version": "1", "home": None, **more})
    ]
    for number, (state, action, result) in enumerate(actions, 1):
        action_id = f"{RUN}-{number:03d}"
        intended = {"action_id": action_id, "device": "stat1", "unit": "1", "action": action, "parameters": {}}
        told.append(("action.intended", {**intended, "state": state}))
        told.append(("action.sent", {"action_id": action_id}))
        if "failed" in result:
            told.append(("action.failed", {"action_id": action_id, "error": "fault", "message": result["failed"]}))
        else:
            told.append(("action.done", {"action_id": action_id, "result": result}))
    told.append(("run.ended", {"outcome": outcome, "cause": more.get("cause")}))
    return [Event(seq, STARTED, RUN, kind, data, "") for seq, (kind, data) in enumerate(told, 1)]


async def test_cycles_give_capacities_efficiencies_and_retention(store: SignalStore) -> None:
    put(store, 1, "cycle", CYCLING, cycled([(2.0, 1.8), (1.8, 1.62)]))
    found = await figures(run(("form", "cycle", {})), store)
    assert {found[name].unit for name in ("capacity_1", "capacity_2", "capacity")} == {"mAh"}
    assert (found["capacity_1"].value, found["ce_1"].value) == pytest.approx((1.8, 90.0))
    assert (found["capacity"].value, found["retention"].value) == pytest.approx((1.62, 90.0))
    assert (found["cycles"].value, found["capacity_2"].source) == (2.0, "run-0001-001")
    assert found["energy_1"].value == pytest.approx(1.8 * 3.6)


async def test_cycles_count_on_over_several_actions(store: SignalStore) -> None:
    put(store, 1, "cycle", CYCLING, cycled([(2.0, 1.8)]))
    put(store, 2, "cycle", CYCLING, cycled([(1.8, 1.7)]))
    found = await figures(run(("form", "cycle", {}), ("age", "cycle", {})), store)
    assert found["capacity_2"].value == pytest.approx(1.7)
    assert found["retention_2"].value == pytest.approx(100 * 1.7 / 1.8)


async def test_steps_of_constant_current_are_cycles_where_a_run_has_no_other(store: SignalStore) -> None:
    rows = cycled([(2.0, 1.8)])
    turn = next(index for index, row in enumerate(rows) if row[2] < 0)
    for number, part, at in ((1, rows[:turn], "08:00:00"), (2, rows[turn:], "10:01:00")):
        began = 0.0 if number == 1 else 7260.0
        info = SeriesInfo(f"{RUN}-00{number}", "stat1", "", RUN, "constant_current", f"2026-01-01T{at}Z", CYCLING[:3])
        store.create(info)
        for t, v, i, _ in part:
            store.append(info.id, (t - began, v, i))
    rest = SeriesInfo(f"{RUN}-003", "stat1", "", RUN, "open_circuit", "2026-01-01T13:00:00Z", CYCLING[:3])
    store.create(rest)
    store.append(rest.id, (0.0, 3.1, 0.0))
    steps = [("charge", "constant_current"), ("empty", "constant_current"), ("rest", "open_circuit")]
    found = await figures(run(*((state, action, {}) for state, action in steps)), store)
    assert (found["capacity_1"].value, found["ce_1"].value) == pytest.approx((1.8, 90.0))
    assert "ocv" not in found  # a rest after the first cycle


async def test_nothing_flows_while_a_run_is_held_between_two_charges(store: SignalStore) -> None:
    for number, at in ((1, "08:00:00"), (2, "10:00:00")):  # half an hour at 1 mA each, and an hour and a half between
        info = SeriesInfo(f"{RUN}-00{number}", "stat1", "", RUN, "constant_current", f"2026-01-01T{at}Z", CYCLING[:3])
        store.create(info)
        for index in range(181):
            store.append(info.id, (index * 10.0, 3.0 + number / 2 + index / 1000, 0.001))
    out = SeriesInfo(f"{RUN}-003", "stat1", "", RUN, "constant_current", "2026-01-01T10:31:00Z", CYCLING[:3])
    store.create(out)
    for index in range(361):
        store.append(out.id, (index * 10.0, 4.0 - index / 1000, -0.001))
    found = await figures(run(*((name, "constant_current", {}) for name in ("one", "two", "out"))), store)
    assert (found["charge_1"].value, found["capacity_1"].value) == pytest.approx((1.0, 1.0), rel=1e-6)


async def test_a_step_that_seems_to_begin_before_the_last_one_ended_follows_it(store: SignalStore) -> None:
    for number, at, way in ((1, "08:00:00", 1), (2, "08:29:58", -1)):  # the instrument's clock is 2 s slow
        info = SeriesInfo(f"{RUN}-00{number}", "stat1", "", RUN, "constant_current", f"2026-01-01T{at}Z", CYCLING[:3])
        store.create(info)
        for index in range(181):
            store.append(info.id, (index * 10.0, 3.6 + way * index / 1000, way * 0.001))
    found = await figures(run(*((name, "constant_current", {}) for name in ("one", "two"))), store)
    assert (found["charge_1"].value, found["capacity_1"].value) == pytest.approx((0.5, 0.5), rel=1e-6)


async def test_a_step_that_has_no_rows_yet_gives_no_capacity_and_no_error(store: SignalStore) -> None:
    put(store, 1, "constant_current", CYCLING[:3], [])
    found = await figures(run(("charge", "constant_current", {})), store)
    assert found.why("capacity") == "the cell was not cycled"


async def test_a_spectrum_gives_resistance_and_with_a_cell_constant_conductivity(store: SignalStore) -> None:
    put(store, 1, "impedance", IMPEDANCE, spectrum(100.0, 50.0))
    events = run(("probe", "impedance", {}), parameters={"cell_constant_per_cm": 1.0})
    found = await figures(events, store)
    assert found["r_ohmic"].value == pytest.approx(100.0, rel=0.01)
    assert (found["conductivity"].value, found["conductivity"].unit) == (pytest.approx(10.0, rel=0.01), "mS/cm")


async def test_without_a_cell_constant_there_is_no_conductivity_and_why_is_told(store: SignalStore) -> None:
    put(store, 1, "impedance", IMPEDANCE, spectrum())
    found = await figures(run(("probe", "impedance", {})), store)
    assert "conductivity" not in found
    assert "parameter `cell_constant_per_cm`" in (found.why("conductivity") or "")


async def test_a_spectrum_that_breaks_kramers_and_kronig_gives_no_resistance(store: SignalStore) -> None:
    drifting = [(f, re * (1 + 0.02 * i), im * (1 + 0.02 * i)) for i, (f, re, im) in enumerate(spectrum())]
    put(store, 1, "impedance", IMPEDANCE, drifting)
    found = await figures(run(("probe", "impedance", {})), store)
    assert "r_ohmic" not in found
    assert "breaks Kramers and Kronig" in (found.why("r_ohmic") or "")


async def test_the_last_spectrum_counts_also_where_it_has_no_arc(store: SignalStore) -> None:
    put(store, 1, "impedance", IMPEDANCE, spectrum(5.0, 20.0))
    put(store, 2, "impedance", IMPEDANCE, [(f, 9.0, 0.0) for f, _, _ in spectrum()])
    found = await figures(run(("a", "impedance", {}), ("b", "impedance", {})), store)
    assert found["r_ohmic"].value == pytest.approx(9.0)
    assert "r_polarisation_1" in found
    assert "r_polarisation" not in found


async def test_results_of_actions_are_figures_by_state(store: SignalStore) -> None:
    capacities = {"v": [1.8, 1.7], "u": "mAh"}
    found = await figures(run(("form", "cycle", {"capacities": capacities, "reason": "done"})), store)
    assert (found["form.capacities_2"].value, found["form.capacities_2"].unit) == (1.7, "mAh")
    assert "form.reason" not in found


async def test_a_cell_that_failed_has_no_figure_but_a_cause(store: SignalStore) -> None:
    found = await figures(run(outcome="scrapped", cause="too little force"), store)
    assert (found.outcome, found.failed) == ("scrapped", "scrapped: too little force")
    assert found.get("capacity") is None
    assert found.why("capacity") == "run-0001 is scrapped: too little force; the cell was not cycled"


async def test_a_cycle_that_its_action_broke_off_is_no_figure(store: SignalStore) -> None:
    put(store, 1, "cycle", CYCLING, cycled([(2.0, 1.8), (1.8, 1.7)]))
    found = await figures(run(("form", "cycle", {"failed": "contact lost"}), outcome="stopped"), store)
    assert "capacity_1" in found
    assert "capacity_2" not in found
    assert "cycle 2 was not completed" in (found.why("capacity_2") or "")
    assert found["capacity"].value == pytest.approx(1.8)


async def test_a_rest_before_the_first_cycle_is_the_open_circuit_voltage(store: SignalStore) -> None:
    put(store, 1, "open_circuit", CYCLING[:3], [(0.0, 3.0, 0.0), (60.0, 2.9, 0.0)])
    found = await figures(run(("rest", "open_circuit", {})), store)
    assert (found["ocv"].value, found["ocv"].unit) == (2.9, "V")


def test_a_run_that_measured_nothing_of_a_name_says_so() -> None:
    assert Figures("run-1", "cell-1", "complete").why("viscosity") == "nothing in run-1 measured viscosity"
    assert Figures("run-1", "cell-1").why("viscosity") == "run-1 has not ended"


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_an_analysis_is_kept_and_not_computed_again(store: SignalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, 1, "cycle", CYCLING, cycled([(2.0, 1.8)]))
    first = await Analyst(store).result("run-0001-001")
    monkeypatch.setattr(analysis, "analyse", lambda _: pytest.fail("computed again"))
    assert await Analyst(store).result("run-0001-001") == first
    assert len(first.input) == 64


async def test_more_rows_have_it_computed_anew(store: SignalStore) -> None:
    rows = cycled([(2.0, 1.8), (1.8, 1.7)])
    put(store, 1, "cycle", CYCLING, rows[:-200])
    before = await Analyst(store).result("run-0001-001")
    for row in rows[-200:]:
        store.append("run-0001-001", row)
    after = await Analyst(store).result("run-0001-001")
    assert before.input != after.input
    assert [cycle["complete"] for cycle in before.result["cycles"]] == [True, False]
    assert [cycle["complete"] for cycle in after.result["cycles"]] == [True, True]


async def test_another_version_has_it_computed_anew(store: SignalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, 1, "cycle", CYCLING, cycled([(2.0, 1.8)]))
    await Analyst(store).result("run-0001-001")
    monkeypatch.setattr(analysis, "VERSION", "next")
    assert (await Analyst(store).result("run-0001-001")).version == "next"


async def test_what_ends_is_analysed_by_itself(store: SignalStore) -> None:
    import asyncio

    task = asyncio.create_task(Analyst(store).run())
    await asyncio.sleep(0)
    put(store, 1, "cycle", CYCLING, cycled([(2.0, 1.8)]))
    await store.finish("run-0001-001")
    while (kept := await store.analysis("run-0001-001")) is None:
        await asyncio.sleep(1)
    task.cancel()
    assert kept.result["cycles"][0]["discharge"] == pytest.approx(1.8)
