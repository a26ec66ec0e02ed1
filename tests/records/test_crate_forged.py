"""Crates that were damaged, forged or made of too little: each is told, and none ends in a traceback."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from labd.journal import Event, Journal, SeriesInfo, SignalStore
from labd.records import Analyst
from labd.records.crate import CrateError, check, page_of, write
from labd.records.crate.contents import protocols_of
from labd.records.crate.gathering import data_of, pages
from labd.records.pictures import gather
from tests.records.cell import cycled
from tests.records.test_crate import ACTION, CYCLING, RUN, _edit, _signed_again, gathered, with_data

PROTOCOL_FILE = "protocols/form@1.2.0.yaml"


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    return write(asyncio.run(gathered(tmp_path)), tmp_path / "crate")


# ── forged ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _without(crate: Path, name: str) -> None:
    """Takes a file out, and all that the metadata say of it."""
    (crate / name).unlink()
    file = crate / "ro-crate-metadata.json"
    metadata = json.loads(file.read_text())
    quoted = name.replace("@", "%40")
    metadata["@graph"] = [_forgets(entity, quoted) for entity in metadata["@graph"] if entity["@id"] != quoted]
    file.write_text(json.dumps(metadata))


def _forgets(entity: dict[str, Any], name: str) -> dict[str, Any]:
    kept = {}
    for key, value in entity.items():
        if isinstance(value, list):
            kept[key] = [one for one in value if one != {"@id": name}]
        elif value != {"@id": name}:
            kept[key] = value
    return kept


def _no_sums(crate: Path) -> None:
    name = f"runs/{RUN}/{ACTION}_cycle.csv"
    _edit(crate, lambda known: [known[name].pop(key) for key in ("sha256", "contentSize")])
    (crate / name).write_text("time / s,voltage / V\n0,4.2\n")


def _other_protocol(crate: Path) -> None:
    (crate / PROTOCOL_FILE).write_text("labd: 1\nprotocol: form\nversion: 1.2.0\n# with another force\n")
    _signed_again(crate, PROTOCOL_FILE.replace("@", "%40"), PROTOCOL_FILE)


@pytest.mark.parametrize(
    ("forge", "where", "what"),
    [
        (lambda crate: _without(crate, "journal.jsonl"), "journal.jsonl", "has no extract of the journal"),
        (lambda crate: _without(crate, f"runs/{RUN}/run.json"), "run.json", "the run's record is not there"),
        (lambda crate: _without(crate, PROTOCOL_FILE), PROTOCOL_FILE, "the protocol was run, and is not there"),
        (_no_sums, "cycle.csv", "its size or its SHA-256 is not told"),
        (_other_protocol, PROTOCOL_FILE, "not what the journal's extract says was run"),
    ],
)
def test_a_forged_crate_is_told(crate: Path, forge: Callable[[Path], None], where: str, what: str) -> None:
    forge(crate)
    (flaw,) = check(crate)
    assert flaw.where.endswith(where)
    assert what in flaw.what


# ── damaged ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_zip_with_a_byte_that_fell_over_is_told_by_the_file(tmp_path: Path) -> None:
    packed = write(asyncio.run(gathered(tmp_path)), tmp_path / "crate.zip")
    with zipfile.ZipFile(packed) as opened:
        member = opened.getinfo("journal.jsonl")
    data = bytearray(packed.read_bytes())
    data[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
    packed.write_bytes(data)
    (flaw,) = check(packed)
    assert flaw.where == "journal.jsonl"
    assert "cannot be unpacked" in flaw.what


def test_a_zip_whose_end_was_lost_is_no_crate(tmp_path: Path) -> None:
    packed = write(asyncio.run(gathered(tmp_path)), tmp_path / "crate.zip")
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(CrateError):
        check(packed)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda known: known["ro-crate-metadata.json"].update(about="./"),
        lambda known: known["ro-crate-metadata.json"].update(conformsTo="https://w3id.org/ro/crate/1.2"),
    ],
)
def test_metadata_of_another_shape_are_a_flaw_and_no_traceback(crate: Path, spoil: Callable[[Any], None]) -> None:
    _edit(crate, spoil)
    assert [flaw.where for flaw in check(crate)] == ["ro-crate-metadata.json"]


def test_a_page_of_results_of_another_shape_is_refused(tmp_path: Path) -> None:
    folder = write(asyncio.run(with_data(tmp_path)), tmp_path / "crate")
    (folder / f"runs/{RUN}/results.json").write_text('{"series": [], "figures": [], "run": 3}')
    with pytest.raises(CrateError, match="cannot be read"):
        page_of(folder)


def test_names_in_a_crate_are_text_in_its_page(tmp_path: Path) -> None:
    folder = write(asyncio.run(with_data(tmp_path)), tmp_path / "crate")
    file = folder / f"runs/{RUN}/results.json"
    told = json.loads(file.read_text())
    evil = "<script>alert(1)</script>"
    told |= {"sample": evil, "failed": evil, "missing": {evil: evil}, "parameters": {evil: evil}}
    file.write_text(json.dumps(told))
    assert "<script" not in page_of(folder)[0]


# ── what lies there already, what could not be written ───────────────────────────────────────────────────────────────
def test_a_zip_that_is_no_crate_is_left_alone(tmp_path: Path) -> None:
    contents = asyncio.run(gathered(tmp_path))
    mine = tmp_path / "thesis.zip"
    with zipfile.ZipFile(mine, "w") as packed:
        packed.writestr("thesis.tex", "years of work")
    with pytest.raises(CrateError, match="is no crate; name another"):
        write(contents, mine)
    assert zipfile.ZipFile(mine).namelist() == ["thesis.tex"]
    write(contents, tmp_path / "twice.zip")
    assert check(write(contents, tmp_path / "twice.zip")) == []


def test_a_crate_with_somebodys_own_files_in_it_is_left_alone(tmp_path: Path, crate: Path) -> None:
    (crate / "notes.txt").write_text("years of work")
    (tmp_path / "again").mkdir()
    with pytest.raises(CrateError, match="other things in it"):
        write(asyncio.run(gathered(tmp_path / "again")), crate)
    assert (crate / "notes.txt").read_text() == "years of work"


def test_a_protocol_that_was_changed_without_another_version_is_kept_in_both_forms() -> None:
    began = {"protocol": "form", "version": "1.2.0"}
    texts = ("labd: 1\n# 7.8 kN\n", "labd: 1\n# 8.2 kN\n", "labd: 1\n# 7.8 kN\n")
    events = [Event(seq, "", "r", "run.started", {**began, "source": text}, "") for seq, text in enumerate(texts, 1)]
    found = protocols_of(events)
    assert sorted(found.values()) == sorted(set(texts))
    assert found["form@1.2.0"] == texts[0]


async def _turned(folder: Path) -> Any:
    """A run whose driver has the sign of its current the wrong way round."""
    contents = await gathered(folder)
    journal = await Journal.open(folder / "journal.sqlite")
    store = await SignalStore.open(folder / "signals.sqlite")
    store.create(SeriesInfo(ACTION, "stat", "2", RUN, "cycle", "2026-01-01T08:00:00.000000Z", CYCLING))
    for time, voltage, current, cycle in cycled([(2.0, 1.8)]):
        store.append(ACTION, (time, voltage, -current, cycle))
    await store.finish(ACTION)
    read = await gather([RUN], journal, store, Analyst(store))
    produced = [*await data_of(RUN, store, journal, folder / "out"), *await pages("x", "run", read, "toys", folder)]
    await store.close()
    await journal.close()
    return contents, produced


def test_a_run_with_a_flipped_current_has_a_crate_that_says_why_a_file_is_missing(tmp_path: Path) -> None:
    contents, produced = asyncio.run(_turned(tmp_path))
    whole = replace(contents, produced=tuple(produced))
    (lack,) = whole.lacks()
    assert f"why there is no {RUN}.bdf.csv" in lack
    assert "the sign of the current is flipped" in lack
    crate = write(whole, tmp_path / "crate")
    assert check(crate) == []
    assert lack in (crate / f"runs/{RUN}/{RUN}.bdf.missing.txt").read_text()
    known = {one["@id"]: one for one in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]}
    assert lack in known[f"#{RUN}"]["description"]
    assert page_of(crate)[1] == RUN


def test_plots_are_files_of_their_own(tmp_path: Path) -> None:
    folder = write(asyncio.run(with_data(tmp_path)), tmp_path / "crate")
    drawn = sorted(file.name for file in (folder / "runs" / RUN).glob("*.svg"))
    names = ("capacity", "dqdv", "impedance_run-0001-003", "voltage_profiles")
    assert drawn == [f"{RUN}_{name}.svg" for name in names]
    for name in drawn:
        root = ET.parse(folder / "runs" / RUN / name).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
