"""Exports from a real journal and a real signal store."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Journal, NewEvent, SeriesInfo, SignalStore
from labd.records import ExportError, export
from labd.records.bdf import read
from tests.records.cell import cycled

RUN = "run-0001"
STARTED = "2026-01-01T08:00:00.000000Z"
ROWS = [(0.0, 3.1, 1e-4, 1.0), (1.0, None, 1e-4, 1.0), (2.5, 3.3000000000000003, -1e-4, 2.0)]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await Journal.open(tmp_path / "journal.sqlite")
    journal.post(
        NewEvent(
            "run.started",
            {
                "protocol": "form",
                "version": "1.2.0",
                "sample": "cell-1",
                "parameters": {"volume": {"v": 35, "u": "µL"}},
                "by": "mk",
                "source": "labd: 1\n",
            },
            RUN,
            STARTED,
        )
    )
    intended = {"action_id": "run-0001-001", "device": "stat1", "unit": "", "action": "cycle", "parameters": {}}
    journal.post(NewEvent("action.intended", intended, RUN))
    journal.post(NewEvent("action.sent", {"action_id": "run-0001-001"}, RUN))
    done = {"action_id": "run-0001-001", "result": {"capacity": {"v": 1.9, "u": "mAh"}}}
    journal.post(NewEvent("action.done", done, RUN))
    journal.post(NewEvent("run.ended", {"outcome": "complete"}, RUN, "2026-01-01T10:00:00.000000Z"))
    yield journal
    await journal.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SignalStore]:
    store = await SignalStore.open(tmp_path / "signals.sqlite")
    columns = (("time", "s"), ("voltage", "V"), ("current", "A"), ("cycle", ""))
    store.create(SeriesInfo("run-0001-001", "stat1", "2", RUN, "cycle", STARTED, columns))
    for row in ROWS:
        store.append("run-0001-001", row)
    polls = SeriesInfo("stat1.poll", "stat1", "2", None, None, STARTED, (("time", "s"),))
    store.create(polls)
    yield store
    await store.close()


async def test_csv_has_units_in_its_header_and_every_digit(
    tmp_path: Path, journal: Journal, store: SignalStore
) -> None:
    files = await export(RUN, "csv", tmp_path / "out", store, journal)
    assert [file.name for file in files] == ["run-0001-001_cycle.csv", "run.json"]
    lines = list(csv.reader(text_of(files[0]).splitlines()))
    assert lines[0] == ["time / s", "voltage / V", "current / A", "cycle"]
    assert lines[1:] == [
        ["0.0", "3.1", "0.0001", "1"],
        ["1.0", "", "0.0001", "1"],
        ["2.5", "3.3000000000000003", "-0.0001", "2"],
    ]


@pytest.mark.parametrize("to", ["parquet", "arrow"])
async def test_columns_come_back_with_units_and_origin(
    tmp_path: Path, journal: Journal, store: SignalStore, to: Any
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = await export(RUN, to, tmp_path / "out", store, journal)
    assert [file.name for file in files] == [f"run-0001-001_cycle.{to}", "run.json"]
    if to == "parquet":
        table = pq.read_table(files[0])
    else:
        with pa.memory_map(str(files[0])) as source:
            table = pa.ipc.open_file(source).read_all()
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS
    assert [field.metadata[b"unit"].decode() for field in table.schema] == ["s", "V", "A", ""]
    assert table.column_names[1] == "voltage / V"
    about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert about["sample"] == "cell-1"
    assert (about["run"], about["action"], about["device"], about["unit"]) == (RUN, "cycle", "stat1", "2")
    assert json.loads(about["parameters"]) == {"volume": {"v": 35, "u": "µL"}}


async def test_the_record_tells_the_run_without_its_journal(
    tmp_path: Path, journal: Journal, store: SignalStore
) -> None:
    files = await export(RUN, "csv", tmp_path / "out", store, journal)
    record = json.loads(text_of(files[-1]))
    told = [record[key] for key in ("run", "sample", "protocol", "version", "started", "outcome", "source")]
    assert told == [RUN, "cell-1", "form", "1.2.0", STARTED, "complete", "labd: 1\n"]
    (action,) = record["actions"]
    assert (action["outcome"], action["result"]["capacity"]["v"]) == ("done", 1.9)
    assert action["intended"] <= action["sent"] <= action["ended"]
    (series,) = record["series"]
    assert (series["file"], series["rows"]) == ("run-0001-001_cycle.csv", 3)
    assert record["journal"]["hash"] == (await journal.events())[-1].hash


async def test_an_export_replaces_the_one_before_and_leaves_nothing_else(
    tmp_path: Path, journal: Journal, store: SignalStore
) -> None:
    for _ in range(2):
        files = await export(RUN, "csv", tmp_path / "out", store, journal)
    assert names_in(tmp_path / "out") == {file.name for file in files}


async def test_what_cannot_be_exported_is_told(
    tmp_path: Path, journal: Journal, store: SignalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match="no run 'run-9'"):
        await export("run-9", "csv", tmp_path / "out", store, journal)
    with pytest.raises(ExportError, match="csv, parquet, arrow"):
        await export(RUN, "xlsx", tmp_path / "out", store, journal)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"pip install 'labd\[data\]'"):
        await export(RUN, "parquet", tmp_path / "out", store, journal)
    assert not names_in(tmp_path / "out")


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def names_in(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir()} if directory.exists() else set()


# ── one file a run ───────────────────────────────────────────────────────────────────────────────────────────────────
async def with_cell(store: SignalStore) -> None:
    """Two more actions of the run: a cycle that rises and falls, and a spectrum."""
    columns = (("time", "s"), ("voltage", "V"), ("current", "A"), ("cycle", ""))
    store.create(SeriesInfo("run-0001-002", "stat1", "2", RUN, "cycle", "2026-01-01T09:00:00.000000Z", columns))
    for row in cycled([(0.2, 0.18)]):
        store.append("run-0001-002", row)
    columns = (("frequency", "Hz"), ("z_real", "Ω"), ("z_imag", "Ω"))
    store.create(SeriesInfo("run-0001-003", "stat1", "2", RUN, "impedance", STARTED, columns))
    store.append("run-0001-003", (1000.0, 5.25, -0.5))


@pytest.mark.parametrize(("to", "name"), [("bdf", "run-0001.bdf.csv"), ("bdf-parquet", "run-0001.bdf.parquet")])
async def test_bdf_is_one_test_of_all_actions(
    tmp_path: Path, journal: Journal, store: SignalStore, to: Any, name: str
) -> None:
    await with_cell(store)
    files = await export(RUN, to, tmp_path / "out", store, journal)
    assert [file.name for file in files] == [name, "run.json"]
    told = read(files[0]).columns
    assert [told["step"][0], told["step"][-1]] == [1.0, 2.0]
    assert told["time"][3] == 3600.0
    assert told["unix"][3] - told["unix"][0] == 3600.0
    assert [told["cycle"][2], told["cycle"][3]] == [2.0, 3.0]  # the second action counts on


async def test_a_run_whose_driver_flips_the_sign_is_not_exported_as_bdf(
    tmp_path: Path, journal: Journal, store: SignalStore
) -> None:
    columns = (("time", "s"), ("voltage", "V"), ("current", "A"))
    store.create(SeriesInfo("run-0001-002", "stat1", "2", RUN, "constant_current", STARTED, columns))
    for index in range(10):
        store.append("run-0001-002", (100.0 + index, 4.0 - index / 10, 1e-4))
    with pytest.raises(ExportError, match="flipped"):
        await export(RUN, "bdf", tmp_path / "out", store, journal)
    assert not names_in(tmp_path / "out")


async def test_netcdf_has_a_group_a_measurement_with_units_and_uncertainties(
    tmp_path: Path, journal: Journal, store: SignalStore
) -> None:
    import xarray as xr

    await with_cell(store)
    files = await export(RUN, "netcdf", tmp_path / "out", store, journal)
    assert [file.name for file in files] == ["run-0001.nc", "run.json"]
    with xr.open_datatree(files[0], engine="h5netcdf") as tree:
        assert set(tree.children) == {"run-0001-001_cycle", "run-0001-002_cycle", "run-0001-003_impedance"}
        assert json.loads(tree.attrs["original_metadata"])["sample"] == "cell-1"
        group = tree["run-0001-002_cycle"]
        assert (group["Ewe"].attrs["units"], group["I"].attrs["units"]) == ("V", "A")
        assert group["I"].attrs["ancillary_variables"] == "I_uncertainty"
        assert (float(group["I_uncertainty"]), group["I_uncertainty"].attrs["units"]) == (0.001, "A")
        assert float(group["uts"][0]) == 1767258000.0
        spectrum = tree["run-0001-003_impedance"]
        assert float(spectrum["-Im(Z)"].sel(freq=1000.0)) == 0.5
        assert spectrum["Re(Z)"].attrs["units"] == "Ohm"
        assert json.loads(tree["run-0001-001_cycle"].attrs["original_metadata"])["result"]["capacity"]["v"] == 1.9


@pytest.mark.parametrize(("to", "library"), [("netcdf", "xarray"), ("bdf-parquet", "pyarrow")])
async def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, journal: Journal, store: SignalStore, monkeypatch: pytest.MonkeyPatch, to: Any, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ExportError, match=r"pip install 'labd\[data\]'"):
        await export(RUN, to, tmp_path / "out", store, journal)
