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
