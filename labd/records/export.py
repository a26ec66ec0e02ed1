"""Exports: the data of a run as files that other programs read, and its record beside them.

CSV, Parquet and Arrow: one file a series. A column's header is its quantity with the unit after a slash, `voltage / V`,
as most instruments' exports have it. Parquet and Arrow files carry the unit of each column in the field's metadata, and
run, sample, action, device and protocol in the schema's, so that a file found alone tells what it is.
Battery Data Format and NetCDF: one file a run, see `labd.records.bdf` and `labd.records.netcdf`.
"""

from __future__ import annotations

import asyncio
import csv
import json
import math
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from labd import clock
from labd.journal import Journal, SeriesInfo, SignalStore
from labd.records import bdf
from labd.records.errors import ExportError
from labd.records.joined import Read, one_test
from labd.records.record import run_record

To = Literal["csv", "parquet", "arrow", "bdf", "bdf-parquet", "netcdf"]
Columns = Mapping[str, "array[float]"]


async def export(run: str, to: To, directory: Path, store: SignalStore, journal: Journal) -> list[Path]:
    """Writes the data of one run: `<series>_<action>.<ending>` for each series, and `run.json` with the run's record.

    A file of the same name is replaced whole; an export that breaks off leaves no half file.

    Raises:
        ExportError: no such run, an unknown format, or a library that is missing.
        SignalError, JournalError: the store cannot be read.
        OSError: the directory cannot be written.
    """
    if to not in _ENDINGS:
        raise ExportError(f"{to!r} is no format; known are {', '.join(_ENDINGS)}")
    await asyncio.to_thread(_load, to)  # the imports take longer than a stop may wait
    events = await journal.events(run=run)
    if not events:
        raise ExportError(f"there is no run {run!r} in {journal.path}")
    record = await asyncio.to_thread(run_record, events)
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    files: list[Path] = []
    listed: list[dict[str, Any]] = []
    read: list[tuple[SeriesInfo, Columns]] = []
    whole = directory / f"{run}.{_ENDINGS[to]}" if to in _OF_A_RUN else None
    for series in await store.series(run=run):
        columns = await store.read(series.id)
        file = whole or directory / f"{series.id}_{series.action or 'signals'}.{to}"
        if whole is None:
            await asyncio.to_thread(_whole, file, _WRITERS[to], series, columns, record)
            files.append(file)
        else:
            read.append((series, columns))
        rows = len(next(iter(columns.values())))
        told = [{"name": name, "unit": unit} for name, unit in series.columns]
        listed.append({**_about(series), "file": file.name, "rows": rows, "columns": told})
    if whole is not None:
        await asyncio.to_thread(_whole, whole, _OF_A_RUN[to], read, {**record, "exported": clock.stamp()})
        files.append(whole)
    file = directory / "run.json"
    await asyncio.to_thread(_whole, file, _write_record, {**record, "series": listed})
    return [*files, file]


def _load(to: To) -> None:
    """Imports what a format needs. Raises ExportError: it is missing."""
    if to in ("parquet", "arrow", "bdf-parquet"):
        _pyarrow()
    elif to == "netcdf":
        from labd.records.netcdf import xarray

        xarray()


def header(name: str, unit: str) -> str:
    """A column's header: `voltage / V`; the bare name where there is no unit."""
    return f"{name} / {unit}" if unit else name


def _whole(file: Path, write: Any, *what: Any) -> None:
    """Writes a file beside its place and then moves it there."""
    part = file.with_name(f".{file.name}.part")
    try:
        write(part, *what)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _about(series: SeriesInfo) -> dict[str, Any]:
    """What a series is; `unit` is the channel, nest or mount."""
    told = {"series": series.id, "device": series.device, "unit": series.unit, "run": series.run}
    return {**told, "action": series.action, "started": series.started, "ended": series.ended}


def _is_count(unit: str, values: array[float]) -> bool:
    """Whether a column counts something: no unit, and nothing but whole numbers."""
    return not unit and bool(values) and all(value.is_integer() for value in values)


def _write_record(file: Path, record: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _write_csv(file: Path, series: SeriesInfo, columns: Columns, record: Mapping[str, Any]) -> None:
    del record  # run.json beside it
    told = []
    for name, unit in series.columns:
        values = columns[name]
        if _is_count(unit, values):
            told.append([str(int(value)) for value in values])
        else:
            told.append(["" if math.isnan(value) else repr(value) for value in values])
    with file.open("w", encoding="utf-8", newline="") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow([header(name, unit) for name, unit in series.columns])
        lines.writerows(zip(*told, strict=True))


# ── Parquet and Arrow ────────────────────────────────────────────────────────────────────────────────────────────────
def _pyarrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ExportError("Parquet and Arrow need pyarrow: pip install 'labd[data]'; or export to csv") from error
    return pa


def _table(series: SeriesInfo, columns: Columns, record: Mapping[str, Any]) -> Any:
    pa = _pyarrow()
    import pyarrow.compute as pc

    fields, arrays = [], []
    for name, unit in series.columns:
        values = columns[name]
        told = pa.Array.from_buffers(pa.float64(), len(values), [None, pa.py_buffer(values)])
        told = pc.if_else(pc.is_nan(told), None, told)  # NaN is how the store keeps a value that nobody could tell
        if _is_count(unit, values):
            told = told.cast(pa.int64())
        arrays.append(told)
        fields.append(pa.field(header(name, unit), told.type, metadata={"quantity": name, "unit": unit}))
    about = {**_about(series), **{key: record[key] for key in ("sample", "protocol", "version", "outcome")}}
    metadata = {key: str(value) for key, value in about.items() if value is not None}
    metadata["parameters"] = json.dumps(record["parameters"], ensure_ascii=False)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))


def _write_parquet(file: Path, series: SeriesInfo, columns: Columns, record: Mapping[str, Any]) -> None:
    table = _table(series, columns, record)
    import pyarrow.parquet as pq

    pq.write_table(table, file, compression="zstd")


def _write_arrow(file: Path, series: SeriesInfo, columns: Columns, record: Mapping[str, Any]) -> None:
    table = _table(series, columns, record)
    pa = _pyarrow()
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


# ── of a whole run ───────────────────────────────────────────────────────────────────────────────────────────────────
def _write_bdf(file: Path, read: Read, record: Mapping[str, Any]) -> None:
    del record  # run.json beside it
    try:
        bdf.write_csv(file, one_test(read))
    except bdf.BdfError as error:
        raise ExportError(str(error)) from error


def _write_bdf_parquet(file: Path, read: Read, record: Mapping[str, Any]) -> None:
    metadata = {key: str(record[key]) for key in ("run", "sample", "protocol", "version") if record[key] is not None}
    try:
        bdf.write_parquet(file, one_test(read), metadata)
    except bdf.BdfError as error:
        raise ExportError(str(error)) from error


def _write_netcdf(file: Path, read: Read, record: Mapping[str, Any]) -> None:
    from labd.records.netcdf import write

    write(file, read, record)


_OF_A_RUN = {"bdf": _write_bdf, "bdf-parquet": _write_bdf_parquet, "netcdf": _write_netcdf}
_ENDINGS: dict[str, str] = {
    **{name: name for name in ("csv", "parquet", "arrow")},
    "bdf": "bdf.csv",
    "bdf-parquet": "bdf.parquet",
    "netcdf": "nc",
}
_WRITERS = {"csv": _write_csv, "parquet": _write_parquet, "arrow": _write_arrow}
