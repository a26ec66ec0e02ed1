"""A crate read back: the pages of its runs, made anew from its data alone."""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labd.journal import SeriesInfo
from labd.records.crate.checking import Box
from labd.records.crate.gathering import RESULTS, about_page
from labd.records.crate.writing import METADATA
from labd.records.errors import CrateError
from labd.records.pictures import Read, read_of
from labd.records.report import page


def page_of(path: Path, run: str | None = None) -> tuple[str, str]:
    """The page of a run, from what the crate has of its results and rows; and the run's name.

    Args:
        path: the crate, a folder or a `.zip`.
        run: which; None where there is only one.

    Raises:
        CrateError: it is no crate of labd's, or has no such run.
    """
    box = Box(path)
    known = _runs(box)
    if not known:
        raise CrateError(f"{path} has no run of labd's in it")
    if run is None and len(known) != 1:
        raise CrateError(f"{path} has {len(known)} runs: name one of {', '.join(known)}")
    run = run or known[0]
    if run not in known:
        raise CrateError(f"{path} has no run {run!r}; it has {', '.join(known)}")
    try:
        read = _read(box, run)
        return page(run, "run", [read], about_page(_lab(box), read)), run
    except (AttributeError, KeyError, ValueError, TypeError, IndexError, csv.Error) as error:
        mend = "`labd crate check` tells what was changed"
        raise CrateError(f"{path}: what it has of {run} cannot be read ({error!r}); {mend}") from error


def _runs(box: Box) -> list[str]:
    return sorted(name.split("/")[1] for name in box.names if name.startswith("runs/") and name.endswith(f"/{RESULTS}"))


def _lab(box: Box) -> str:
    entities = {entity["@id"]: entity for entity in json.loads(box.read(METADATA))["@graph"]}
    return str(entities["#lab"]["name"])


def _read(box: Box, run: str) -> Read:
    told: Mapping[str, Any] = json.loads(box.read(f"runs/{run}/{RESULTS}"))
    rows: dict[str, dict[str, array[float]]] = {}
    series: list[SeriesInfo] = []
    for one in told["series"]:
        name, action = one["series"], one["action"]
        rows[name] = _columns(box.read(f"runs/{run}/{name}_{action or 'signals'}.csv"))
        columns = tuple((column, "") for column in rows[name])
        series.append(SeriesInfo(name, one["device"], one["unit"], run, action, one["started"], columns, one["ended"]))
    return read_of(told, series, rows)


def _columns(data: bytes) -> dict[str, array[float]]:
    header, *lines = csv.reader(data.decode("utf-8").splitlines())
    names = [one.partition(" / ")[0] for one in header]
    numbers = [[float(cell) if cell else float("nan") for cell in line] for line in lines]
    return {name: array("d", (row[at] for row in numbers)) for at, name in enumerate(names)}
