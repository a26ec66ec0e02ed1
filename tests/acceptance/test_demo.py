"""The demo's lab, whole: real wires, real journal, real broker, ten hours and more in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from labd import clock
from labd.demo.play import Played, furnish, play
from labd.demo.show import Show
from labd.lab.config import load_lab


def played(directory: Path, seed: int, cells: int) -> Played:
    lab = furnish(directory, seed)
    config = load_lab(lab)
    console = Console(quiet=True)
    timeline = clock.timeline_of(config.clock_kind, config.directory)
    return clock.run(play(lab, cells, Show(console, live=False), watch=False, console=console), timeline)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return played(tmp_path_factory.mktemp("demo"), seed=7, cells=8)


def test_eight_cells_live_through_ten_hours_and_one_is_scrapped(whole: Played) -> None:
    outcomes = [row.outcome for row in whole.rows]
    assert sorted(outcomes) == ["complete"] * 7 + ["scrapped"]
    assert whole.lab_seconds > 10 * 3600


def test_what_was_done_to_a_cell_shows_in_what_it_can(whole: Played) -> None:
    good = [row for row in whole.rows if row.outcome == "complete"]
    for row in good:
        assert row.ocv is not None
        assert 0.05 < row.ocv < 0.5  # graphite against NMC, never charged
        assert len(row.capacities) == 3
        assert 0.5 < row.capacities[0] < 3.0
        assert 70 < row.coulombic_efficiencies[0] < row.coulombic_efficiencies[-1] <= 100.5
        assert row.electrolyte_to_crimp is not None
        assert 30 < row.electrolyte_to_crimp < 1800
    driest = min(good, key=lambda row: row.dose or 0)
    wettest = max(good, key=lambda row: row.capacities[0])
    assert (driest.dose or 0) < (wettest.dose or 0)
    assert driest.capacities[0] < wettest.capacities[0]


def test_the_scrapped_cell_was_pressed_too_weakly_and_asked_about(whole: Played) -> None:
    (bad,) = [row for row in whole.rows if row.outcome == "scrapped"]
    assert bad.peak_force is not None
    assert bad.peak_force < 0.95 * 8.4
    assert bad.capacities == ()


def test_plots_and_data_lie_where_they_are_said_to(whole: Played) -> None:
    names = {path.name for path in whole.files}
    assert {"voltage_profiles.png", "voltage_profiles.svg", "capacity_against_dose.png"} <= names
    for path in whole.files:
        assert path.exists()
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(tmp_path: Path, whole: Played) -> None:
    first, again = (played(tmp_path / name, 3, cells=1) for name in ("a", "b"))
    assert first.rows == again.rows
    assert first.rows[0].capacities != whole.rows[0].capacities  # seed 7's first cell, made the same way
