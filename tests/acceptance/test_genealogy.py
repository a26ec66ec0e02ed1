"""One cell from its first part to its last cycle, in the simulated lab: three protocols, one identity."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from labd import clock
from labd.cli import sample_views
from labd.clock import VirtualTimeline
from labd.lab.samples import Noted
from labd.records import summaries, traced
from tests.protocols.bench import Bench, bench, parts

CODE = "https://lab.example/c/0042"
LADDER = {"specific_capacity": "500 mAh/g", "soak": "10 min", "pause": "1 min"}  # of less it has too much: fast


async def _life(directory: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    async with bench(directory) as lab:
        said = {"barcode": CODE, "active_mass": 0.012, "about": {"coating": "N3-left"}}
        await lab.daemon.lab.samples.note("cell-42", Noted(said), by="mk")
        lab.faults("press")["force_short"] = 0.8
        await lab.run("autobass_cr2032", parts("A1"), sample=CODE, position="ot2/3/A1", answers=["keep it"])
        to_channel = {"source": "tray/cells/A1", "destination": "stat1/cell"}
        await lab.run("carry", to_channel, sample=CODE)
        await lab.run("ladder_by_active_mass", LADDER, sample="cell-42")
        return await _told(lab, CODE), summaries(lab.daemon.lab, await lab.engine.states())


async def _told(lab: Bench, code: str) -> dict[str, Any]:
    return await traced(code, lab.daemon.lab, lab.daemon.journal, await lab.engine.states())


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return clock.run(_life(tmp_path_factory.mktemp("life")), VirtualTimeline())


@pytest.fixture
def told(life: tuple[dict[str, Any], list[dict[str, Any]]]) -> dict[str, Any]:
    return life[0]


def test_it_keeps_its_identity_over_three_protocols(told: dict[str, Any]) -> None:
    assert (told["sample"], told["barcode"]) == ("cell-42", CODE)
    assert [(run["protocol"], run["outcome"]) for run in told["runs"]] == [
        ("autobass_cr2032", "complete"),
        ("carry", "complete"),
        ("ladder_by_active_mass", "complete"),
    ]
    assert told["place"] == "stat1/cell"
    assert told["fate"] == {"outcome": "complete", "run": "run-0003", "because": None, "taken_out": None}


def test_its_parts_are_told_with_where_they_lay(told: dict[str, Any]) -> None:
    assert [(part["what"], part["source"], part["on_sample"]) for part in told["parts"]] == [
        ("cr2032_bottom", "tray/bottoms/A1", True),
        ("spacer", "tray/spacers1/A1", True),
        ("anode", "tray/anodes/A1", True),
        ("separator", "tray/separators/A1", True),
        ("cathode", "tray/cathodes/A1", True),
        ("spacer", "tray/spacers2/A1", True),
        ("spring", "tray/springs/A1", True),
        ("cr2032_top", "tray/tops/A1", True),
    ]


def test_its_doses_are_told_with_lot_and_volume(told: dict[str, Any]) -> None:
    assert [(dose["what"], dose["lot"], dose["asked"]) for dose in told["doses"]] == [
        ("LP57", "L-0412", {"v": 17.5, "u": "µL"})
    ] * 2
    assert all(dose["volume"]["v"] == pytest.approx(17.5, abs=0.5) for dose in told["doses"])


def test_its_crimp_and_who_let_it_pass(told: dict[str, Any]) -> None:
    (force,) = told["forces"]
    assert force["asked"] == {"v": 7.8, "u": "kN"}
    assert force["peak"]["v"] < 0.95 * 7.8
    (question,) = told["questions"]
    assert "Is cell-42 sound?" in question["text"]
    assert (question["choice"], question["by"], question["end"]) == ("keep it", "test", "answered")


def test_the_times_between_its_steps(told: dict[str, Any]) -> None:
    times = {(one["from"], one["to"]): one["seconds"] for one in told["intervals"]}
    assert 120 < times["electrolyte", "crimp"] < 742
    assert times["dose", "part"] > 0
    kinds = [step["kind"] for step in told["steps"] if step["kind"] != "other"]
    assert kinds == [*["part"] * 3, "dose", "part", "dose", *["part"] * 4, "crimp", "open_circuit", *["cycle"] * 4]
    assert all(step["since"] is not None and step["since"] > 0 for step in told["steps"][1:])


def test_its_cycles_at_rates_of_its_own_mass(told: dict[str, Any]) -> None:
    currents = [one["current"]["v"] for one in told["cycling"]]
    assert currents == pytest.approx([rate * 0.012 * 500 / 1000 for rate in (0.05, 0.1, 0.2, 0.5)])
    assert all(0.5 < one["capacities"]["v"][0] < 2.5 for one in told["cycling"])
    assert all(50 < one["coulombic_efficiencies"][0] <= 101 for one in told["cycling"])


def test_it_stands_among_all_samples(life: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    (row,) = life[1]
    assert (row["sample"], row["barcode"], row["runs"], row["run"], row["state"]) == (
        "cell-42",
        CODE,
        3,
        "run-0003",
        "complete",
    )


def test_its_story_reads_from_the_first_part_to_the_last_cycle(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Console(width=200, record=True, markup=False, highlight=False, file=io.StringIO())
    monkeypatch.setattr("labd.cli.views.console", lambda: shown)
    monkeypatch.setattr("labd.cli.sample_views.console", lambda: shown)
    sample_views.show_sample(told)
    text = shown.export_text()
    lines = [
        "cell-42, barcode https://lab.example/c/0042: complete in run-0003, at stat1/cell",
        "active mass 12 mg, coating N3-left",
        "registered by mk  about coating N3-left, active_mass 12 mg",
        "anode from tray/anodes/A1",
        "of LP57",
        "crimped with",
        "Is cell-42 sound?",
        "keep it",
        "cycled at 300 µA, 0.05 C",
        "run-0003 ended: complete",
        "electrolyte to crimp",
    ]
    places = [text.index(line) for line in lines]
    assert places == sorted(places)
