"""Crates: what is in them, what their check finds, and that others read them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labd.cli import main
from labd.journal import Journal, NewEvent, SeriesInfo, SignalStore
from labd.records import Analyst
from labd.records.crate import Contents, CrateError, Produced, check, page_of, write
from labd.records.crate.battinfo import document, terms
from labd.records.crate.contents import Extract
from labd.records.crate.gathering import data_of, pages
from labd.records.genealogy import genealogy
from labd.records.pictures import gather
from labd.records.record import run_record
from tests.records.cell import cycled, spectrum

RUN, ACTION = "run-0001", "run-0001-002"
PROTOCOL = "labd: 1\nprotocol: form\nversion: 1.2.0\n"
CALLED = "labd: 1\nprotocol: carry\nversion: '1.0.0'  # a note\n"


def of_run() -> list[tuple[str, dict[str, Any]]]:
    dose = {"action_id": "run-0001-001", "device": "ot2", "unit": "", "action": "transfer", "effect": "once"}
    cycle = {"action_id": ACTION, "device": "stat", "unit": "2", "action": "cycle", "effect": "once"}
    common = {"sample": "cell 1", "role": "", "state": "make", "step": "1"}
    volume = {"v": 35.0, "u": "µL"}
    results = {"capacities": {"v": [1.9, 1.8], "u": "mAh"}, "coulombic_efficiencies": [86.0, 99.0], "reason": "cycles"}
    asked = {"current": {"v": 5e-4, "u": "A"}, "upper": {"v": 4.2, "u": "V"}, "cycles": 2}
    spent = {"what": "LP57", "lot": "L-0412", "action_id": "run-0001-001", "thing": "liquid", "sample": "cell 1"}
    began = {"protocol": "form", "version": "1.2.0", "sample": "cell 1", "by": "mk", "home": "tray/A1"}
    return [
        ("run.started", {**began, "parameters": {"volume": volume}, "source": PROTOCOL, "called": {"carry": CALLED}}),
        ("action.intended", {**dose, **common, "parameters": {"volume": volume, "destination": "tray/A1"}}),
        ("action.sent", {"action_id": "run-0001-001"}),
        ("action.done", {"action_id": "run-0001-001", "result": {"volume": volume, "destination": "tray/A1"}}),
        ("stock.spent", {**spent, "portions": [{"material": "LP57", "lot": "L-0412"}]}),
        ("action.intended", {**cycle, **common, "parameters": asked}),
        ("action.sent", {"action_id": ACTION}),
        ("action.done", {"action_id": ACTION, "result": results}),
        ("run.ended", {"outcome": "complete", "cause": None}),
    ]


def identified(device: str, firmware: str) -> NewEvent:
    force = {"value": "1.003", "calibrated": "2026-01-31", "by": "mk", "ends": None}
    known = {"device": device, "driver": device, "model": "M", "serial": "S-1", "firmware": firmware}
    return NewEvent("device.identified", {**known, "calibrations": {"force": force}})


async def gathered(folder: Path) -> Contents:
    journal = await Journal.open(folder / "journal.sqlite")
    try:
        await journal.append(identified("stat", "1.0"), identified("stat", "1.1"), identified("elsewhere", "9"))
        for kind, data in of_run():
            await journal.append(NewEvent(kind, data, RUN), NewEvent("run.state", {"to": "Execute"}, "run-0002"))
        await journal.append(identified("stat", "2.0"))
        extract = await Extract.of(journal, [RUN])
    finally:
        await journal.close()
    data = folder / "data.csv"
    data.write_text("time / s,voltage / V\n0,3.1\n")
    file = Produced(data, f"runs/{RUN}/{ACTION}_cycle.csv", RUN, ACTION, "cycle of stat.2", "text/csv")
    samples = {"cell 1": genealogy("cell 1", extract.events)}
    return Contents("run-0001", "run", "toys", (RUN,), extract, samples, (file,), "0.1.0+gabc")


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return asyncio.run(gathered(tmp_path))


@pytest.fixture
def crate(tmp_path: Path, contents: Contents) -> Path:
    return write(contents, tmp_path / "crate")


def entities(crate: Path) -> dict[str, Any]:
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    return {entity["@id"]: entity for entity in graph}


# ── what is in it ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_crate_that_was_just_written_holds(crate: Path) -> None:
    assert check(crate) == []


def test_it_has_protocols_data_genealogy_and_journal(crate: Path) -> None:
    files = {str(file.relative_to(crate)) for file in crate.rglob("*") if file.is_file()}
    assert files == {
        "ro-crate-metadata.json",
        "journal.jsonl",
        "protocols/form@1.2.0.yaml",
        "protocols/carry@1.0.0.yaml",
        "runs/run-0001/run.json",
        "runs/run-0001/run-0001-002_cycle.csv",
        "samples/cell_1.json",
        "samples/cell_1.jsonld",
    }
    assert (crate / "protocols/form@1.2.0.yaml").read_text() == PROTOCOL


def test_a_run_is_an_action_with_its_devices_sample_parameters_and_files(crate: Path) -> None:
    known = entities(crate)
    run = known["#run-0001"]
    assert run["@type"] == "CreateAction"
    used = [one["@id"] for one in run["instrument"]]
    assert used == ["protocols/form%401.2.0.yaml", "#labd", "#device-ot2", "#device-stat"]
    (sample, volume) = (known[one["@id"]] for one in run["object"])
    assert (sample["name"], volume["value"], volume["unitText"]) == ("cell 1", 35.0, "µL")
    assert run["actionStatus"] == {"@id": "http://schema.org/CompletedActionStatus"}
    measured = known[f"#{ACTION}"]
    assert measured["result"] == {"@id": f"runs/{RUN}/{ACTION}_cycle.csv"}
    assert measured["instrument"] == {"@id": "#device-stat"}


def test_a_device_is_told_as_it_was_when_the_run_used_it(crate: Path) -> None:
    known = entities(crate)
    stat = known["#device-stat"]
    told = {known[one["@id"]]["name"]: known[one["@id"]]["value"] for one in stat["additionalProperty"]}
    assert told["firmware"] == "1.1"
    assert told["calibration.force"] == "1.003 on 2026-01-31 by mk"
    assert stat["serialNumber"] == "S-1"
    assert "#device-elsewhere" not in known


def test_the_extract_leaves_out_other_runs_and_keeps_their_place_in_the_chain(contents: Contents, crate: Path) -> None:
    rows = [json.loads(line) for line in (crate / "journal.jsonl").read_text().splitlines()]
    assert {row["run"] for row in rows} == {None, RUN}
    assert len(rows) == len(of_run()) + 2  # and two devices as they last were
    assert run_record(contents.extract.of_run(RUN))["outcome"] == "complete"


def test_a_licence_may_be_an_address_or_unsaid(tmp_path: Path, contents: Contents) -> None:
    address = "https://spdx.org/licenses/CC-BY-4.0"
    said = entities(write(replace(contents, licence=address), tmp_path / "said"))
    assert said["./"]["license"] == {"@id": address}
    unsaid = entities(write(contents, tmp_path / "unsaid"))
    assert unsaid[unsaid["./"]["license"]["@id"]]["name"] == "not stated"


def test_a_zip_is_the_same_crate(tmp_path: Path, contents: Contents, crate: Path) -> None:
    packed = write(contents, tmp_path / "crate.zip")
    assert check(packed) == []
    with zipfile.ZipFile(packed) as opened:
        assert len(opened.namelist()) == 8


def test_a_crate_takes_the_place_of_one_before_it_and_of_nothing_else(tmp_path: Path, contents: Contents) -> None:
    write(contents, tmp_path / "out")
    assert check(write(contents, tmp_path / "out")) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(CrateError, match="a folder with other things in it"):
        write(contents, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


# ── BattINFO ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")  # rdflib's own affair
def test_a_cell_is_told_in_battinfos_words(crate: Path) -> None:
    rdflib = pytest.importorskip("rdflib", reason="rdflib is not installed: nobody else reads the JSON-LD")
    graph = rdflib.Graph().parse(crate / "samples/cell_1.jsonld", format="json-ld")  # no network: its context is inside
    electrochemistry = "https://w3id.org/emmo/domain/electrochemistry#electrochemistry_"
    has_electrolyte = rdflib.URIRef(f"{electrochemistry}3bd08946_4e81_455d_9fca_dc7a5ead9315")
    (electrolyte,) = graph.objects(None, has_electrolyte)
    assert (
        electrolyte,
        rdflib.RDF.type,
        rdflib.URIRef(f"{electrochemistry}6b0d3c26_821a_4881_9ebd_fb439c190183"),
    ) in graph
    number = rdflib.URIRef("https://w3id.org/emmo#EMMO_faf79f53_749d_40b2_807c_d34244c192f4")
    assert {float(value) for value in graph.objects(None, number)} >= {0.035, 1.9, 1.8, 0.86, 0.99, 4.2, 5e-4}


def test_what_was_mixed_is_an_electrolyte_of_several_portions() -> None:
    dose = {"what": "LP57", "lot": None, "at": None, "volume": {"v": 20.0, "u": "µL"}}
    other = {**dose, "what": "VC"}
    nothing: dict[str, Any] = {name: [] for name in ("parts", "forces", "measurements", "cycling")}
    cell = document({"sample": "c", "doses": [dose, other], **nothing}, {})["@graph"][0]
    kinds = [portion["@type"] for portion in cell["hasElectrolyte"]["hasConstituent"]]
    assert kinds == ["LP57", "ElectrolyteSolution"]
    assert "LP57" in terms()


# ── its check ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _changed_data(crate: Path) -> None:
    file = crate / f"runs/{RUN}/{ACTION}_cycle.csv"
    file.write_text(file.read_text().replace("3.1", "3.2"))


def _lost_file(crate: Path) -> None:
    (crate / "protocols/form@1.2.0.yaml").unlink()


def _stowaway(crate: Path) -> None:
    (crate / "notes.txt").write_text("hello")


def _no_licence(crate: Path) -> None:
    _edit(crate, lambda known: known["./"].pop("license"))


def _dangling(crate: Path) -> None:
    _edit(crate, lambda known: known["#run-0001"].update(agent={"@id": "#person-nobody"}))


def _other_context(crate: Path) -> None:
    file = crate / "ro-crate-metadata.json"
    file.write_text(file.read_text().replace("ro/crate/1.2/context", "ro/crate/1.0/context"))


def _edit(crate: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = crate / "ro-crate-metadata.json"
    metadata = json.loads(file.read_text())
    change({entity["@id"]: entity for entity in metadata["@graph"]})
    file.write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("spoil", "where", "what"),
    [
        (_changed_data, "cycle.csv", "its SHA-256 is another"),
        (_lost_file, "form@1.2.0.yaml", "the file is not there"),
        (_stowaway, "notes.txt", "does not describe this file"),
        (_no_licence, "ro-crate-metadata.json", "the crate has no license"),
        (_dangling, "#run-0001", "agent names #person-nobody"),
        (_other_context, "ro-crate-metadata.json", "its @context is not"),
    ],
)
def test_the_check_tells_what_was_done_to_a_crate(
    crate: Path, spoil: Callable[[Path], None], where: str, what: str
) -> None:
    spoil(crate)
    (flaw,) = check(crate)
    assert flaw.where.endswith(where)
    assert what in flaw.what
    assert flaw.mend


def _signed_again(crate: Path, name: str, file: str | None = None) -> None:
    """Somebody who changes a file, and the sum that stands beside it."""
    data = (crate / (file or name)).read_bytes()
    sums = {"sha256": hashlib.sha256(data).hexdigest(), "contentSize": str(len(data))}
    _edit(crate, lambda known: known[name].update(sums))


def test_a_journal_that_was_changed_with_its_sums_is_told_by_its_hashes(crate: Path) -> None:
    file = crate / "journal.jsonl"
    file.write_text(file.read_text().replace('"v":35.0', '"v":36.0'))
    _signed_again(crate, "journal.jsonl")
    found = "\n".join(flaw.what for flaw in check(crate))
    assert "is not what its hash says" in found
    assert "it is not what the journal's extract says" in found  # run.json still has the old volume


def test_an_event_that_was_taken_out_between_two_is_told(crate: Path) -> None:
    file = crate / "journal.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:4], *lines[5:]]))
    _signed_again(crate, "journal.jsonl")
    assert any("not what the journal's extract says" in flaw.what for flaw in check(crate))


def test_a_word_that_nobody_knows_is_told(crate: Path) -> None:
    name = "samples/cell_1.jsonld"
    file = crate / name
    file.write_text(file.read_text().replace('"@type": "CoinCell"', '"@type": "PancakeCell"'))
    _signed_again(crate, name)
    assert any(flaw.what == "PancakeCell has no meaning here" for flaw in check(crate))


def test_what_is_no_crate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CrateError, match="there is no"):
        check(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CrateError, match="no RO-Crate"):
        check(tmp_path / "empty")


def test_the_command_checks_and_says_with_its_status_what_it_found(
    crate: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for spoil, status, said in (
        (None, 0, "holds"),
        (_lost_file, 1, "the file is not there"),
        (shutil.rmtree, 2, "no "),
    ):
        if spoil is not None:
            spoil(crate)
        monkeypatch.setattr("sys.argv", ["labd", "crate", "check", str(crate)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == status
        told = capsys.readouterr()
        assert said in told.out + told.err


# ── read back ────────────────────────────────────────────────────────────────────────────────────────────────────────
async def with_data(folder: Path) -> Contents:
    """The same run, with rows that were cycled and a spectrum; with its results and its page."""
    contents = await gathered(folder)
    journal = await Journal.open(folder / "journal.sqlite")
    store = await SignalStore.open(folder / "signals.sqlite")
    series = SeriesInfo(ACTION, "stat", "2", RUN, "cycle", "2026-01-01T08:00:00.000000Z", CYCLING)
    store.create(series)
    for row in cycled([(2.0, 1.8), (1.8, 1.7)]):
        store.append(ACTION, row)
    other = SeriesInfo("run-0001-003", "stat", "2", RUN, "impedance", "2026-01-01T09:00:00.000000Z", IMPEDANCE)
    store.create(other)
    for point in spectrum():
        store.append(other.id, point)
    for one in (series, other):
        await store.finish(one.id)
    read = await gather([RUN], journal, store, Analyst(store))
    produced = [
        *await data_of(RUN, store, journal, folder / "out"),
        *await pages("x", "run", read, "toys", folder / "out"),
    ]
    await store.close()
    await journal.close()
    return replace(contents, produced=tuple(produced))


CYCLING = (("time", "s"), ("voltage", "V"), ("current", "A"), ("cycle", ""))
IMPEDANCE = (("frequency", "Hz"), ("z_real", "Ω"), ("z_imag", "Ω"))


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    return write(asyncio.run(with_data(tmp_path)), tmp_path / "measured.zip")


def test_the_page_of_a_run_is_made_anew_from_its_crate_alone(measured: Path) -> None:
    assert check(measured) == []
    page, run = page_of(measured)
    with zipfile.ZipFile(measured) as opened:
        assert page == opened.read(f"runs/{RUN}/report.html").decode()
    assert run == RUN
    assert "<svg" in page
    assert "1.7" in page


def test_a_page_of_a_run_that_is_not_in_a_crate_is_refused(measured: Path, crate: Path) -> None:
    with pytest.raises(CrateError, match="has no run 'run-0009'; it has run-0001"):
        page_of(measured, "run-0009")
    with pytest.raises(CrateError, match="has no run of labd's in it"):
        page_of(crate)


def test_a_test_in_battery_data_format_that_was_turned_around_is_told(measured: Path, tmp_path: Path) -> None:
    folder = tmp_path / "turned"
    with zipfile.ZipFile(measured) as opened:
        opened.extractall(folder)
    name = f"runs/{RUN}/{RUN}.bdf.csv"
    lines = [line.split(",") for line in (folder / name).read_text().splitlines()]
    at = next(index for index, title in enumerate(lines[0]) if title.startswith("Current"))
    for line in lines[1:]:
        line[at] = repr(-float(line[at]))
    (folder / name).write_text("\n".join(",".join(line) for line in lines) + "\n")
    _signed_again(folder, name)
    (flaw,) = check(folder)
    assert flaw.where == name
    assert "sign" in flaw.what or "charge" in flaw.what
