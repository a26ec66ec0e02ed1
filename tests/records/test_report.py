"""The plots and the one-file report of runs."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Journal, NewEvent, SeriesInfo, SignalStore
from labd.records import Analyst, charts
from labd.records.analysis import curves
from labd.records.drawing import inline, save
from labd.records.pictures import Read, gather, save_plots
from labd.records.report import page
from tests.records.cell import columns, cycled, spectrum

STARTED = "2026-01-01T08:00:00.000000Z"
ABOUT = {"lab": "bench <1>", "at": STARTED, "waiting": ("job-0003",)}


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[list[Read]]:
    """A cell that was cycled and measured, and one that was scrapped."""
    journal = await Journal.open(tmp_path / "journal.sqlite")
    store = await SignalStore.open(tmp_path / "signals.sqlite")
    for number, end in ((1, "complete"), (2, "scrapped")):
        run = f"run-000{number}"
        begun = {"protocol": "form", "version": "1.0.0", "sample": f"cell-{number}", "by": "<b>mk</b>", "home": None}
        journal.post(NewEvent("run.started", {**begun, "parameters": {"force": {"v": 7.8, "u": "kN"}}}, run, STARTED))
        if number == 1:
            for index, action in ((1, "cycle"), (2, "impedance")):
                told = {"action_id": f"{run}-00{index}", "device": "stat1", "unit": "", "action": action}
                journal.post(NewEvent("action.intended", {**told, "state": "form", "parameters": {}}, run))
                journal.post(NewEvent("action.done", {"action_id": told["action_id"], "result": {}}, run))
        cause = "lid <missing>" if end == "scrapped" else None
        journal.post(NewEvent("run.ended", {"outcome": end, "cause": cause}, run))
    names = (("time", "s"), ("voltage", "V"), ("current", "A"), ("cycle", ""))
    store.create(SeriesInfo("run-0001-001", "stat1", "", "run-0001", "cycle", STARTED, names))
    for row in cycled([(2.0, 1.8), (1.8, 1.62)]):
        store.append("run-0001-001", row)
    names = (("frequency", "Hz"), ("z_real", "Ω"), ("z_imag", "Ω"))
    store.create(SeriesInfo("run-0001-002", "stat1", "", "run-0001", "impedance", STARTED, names))
    for point in spectrum():
        store.append("run-0001-002", point)
    yield await gather(["run-0001", "run-0002"], journal, store, Analyst(store))
    await store.close()
    await journal.close()


class Outside(HTMLParser):
    """Collects what a page would fetch, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.found += [v for n, v in attrs if n in ("src", "href", "xlink:href", "data", "action") and v[:1] != "#"]

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Outside:
    reader = Outside()
    reader.feed(text)
    return reader


async def test_a_report_needs_nothing_from_outside(runs: list[Read]) -> None:
    found = parsed(page("batch-0001", "batch", runs, ABOUT))
    assert found.found == []
    assert not {"script", "link", "iframe", "img", "object"} & set(found.tags)
    assert "url(http" not in found.text


async def test_a_report_tells_its_figures_in_tables(runs: list[Read]) -> None:
    text = page("run-0001", "run", runs[:1], ABOUT)
    for told in ('<td class="n">1.62</td>', '<td class="n">90</td>', "Kramers-Kronig", "R0-p(R1,CPE1)", "7.8 kN"):
        assert told in text
    assert text.count("<svg") == 4  # capacity, profiles, dQ/dV, Nyquist


async def test_what_people_wrote_is_escaped(runs: list[Read]) -> None:
    text = page("batch-0001", "batch", runs, ABOUT)
    assert "&lt;b&gt;mk&lt;/b&gt;" in text
    assert "scrapped: lid &lt;missing&gt;" in text
    assert "bench &lt;1&gt;" in text


async def test_a_failed_cell_is_a_failure_and_no_zero(runs: list[Read]) -> None:
    text = page("batch-0001", "batch", runs, ABOUT)
    row = next(line for line in re.findall(r"<tr>.*?</tr>", text) if "run-0002" in line)
    assert "–" in row
    assert '">0<' not in row
    assert "yield 50% of the 2 that have ended" in text
    assert '<td>waiting</td><td class="n">1</td>' in text


async def test_without_matplotlib_a_report_has_its_tables_and_says_why_it_has_no_plots(
    runs: list[Read], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = page("run-0001", "run", runs[:1], ABOUT)
    assert "<svg" not in text
    assert "pip install &#x27;labd[data]&#x27;" in text
    assert '<td class="n">1.62</td>' in text


def test_a_batch_without_runs_says_so() -> None:
    assert "It has no runs yet" in page("batch-0001", "batch", [], {**ABOUT, "waiting": ()})


async def test_the_outcome_of_a_run_tells_what_each_analysis_was_made_of(runs: list[Read]) -> None:
    told = runs[0].told
    assert [one["analysis"]["kind"] for one in told["series"]] == ["cycling", "impedance"]
    assert all(len(one["input"]) == 64 and one["version"] for one in told["series"])
    assert runs[1].told["missing"]["capacity"].startswith("run-0002 is scrapped: lid <missing>")


# ── plots ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def drawn() -> dict[str, charts.Draw]:
    made = curves(columns(cycled([(2.0, 1.8), (1.8, 1.62)])))
    _, re_z, im_z = zip(*spectrum(), strict=True)
    row = {"cycle": 1.0, "charge": 2.0, "capacity": 1.8, "ce": 90.0}
    return {
        "profile": charts.voltage_profile(made.profiles),
        "dqdv": charts.incremental(made.incremental),
        "capacity": charts.capacity_by_cycle([row, {**row, "cycle": 2.0, "ce": None}]),
        "nyquist": charts.nyquist((re_z, im_z), (re_z, im_z), "cell-1"),
        "boxes": charts.boxes([charts.Group("capacity / mAh", (("cell-1", 1.8), ("cell-2", 1.9)))]),
        "yield": charts.outcomes({"complete": 7, "scrapped": 1}),
    }


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("profile", ["capacity / mAh", "voltage / V", "cycle 2", "discharge"]),
        ("dqdv", ["voltage / V", "dQ/dV / (mAh/V)"]),
        ("capacity", ["capacity / mAh", "efficiency / %", "cycle"]),
        ("nyquist", ["Re(Z) / Ω", "−Im(Z) / Ω", "measured", "fit"]),
        ("boxes", ["capacity / mAh", "cell-2"]),
        ("yield", ["cells", "scrapped"]),
    ],
)
def test_axes_have_units_and_names(name: str, labels: list[str]) -> None:
    text = inline(drawn()[name])
    assert text.startswith("<svg")
    assert "purl.org" not in text
    for label in labels:
        assert f">{label}<" in text


def test_plots_are_saved_as_png_and_svg(tmp_path: Path) -> None:
    files = save(drawn()["capacity"], tmp_path / "plots" / "cell-1")
    assert [file.name for file in files] == ["cell-1.png", "cell-1.svg"]
    assert files[0].read_bytes()[:4] == b"\x89PNG"


async def test_the_plots_of_a_run_are_files_of_its_name(runs: list[Read], tmp_path: Path) -> None:
    files = save_plots(runs[0], tmp_path / "plots")
    plots = ("capacity", "voltage_profiles", "dqdv", "impedance_run-0001-002")
    assert {file.name for file in files} == {f"run-0001_{plot}.{form}" for plot in plots for form in ("png", "svg")}
    assert save_plots(runs[1], tmp_path / "none") == []


def test_many_cycles_are_thinned_to_a_few_with_the_first_and_the_last() -> None:
    shown = curves(columns(cycled([(0.2, 0.2)] * 20)))
    assert sorted({curve.cycle for curve in shown.profiles}) == [1, 5, 9, 12, 16, 20]
