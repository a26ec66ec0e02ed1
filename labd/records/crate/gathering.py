"""A crate's contents, gathered from the journal, the signal store and the lab."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labd.journal import Journal, SignalStore
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.records.crate.contents import Contents, CrateError, Extract, Produced
from labd.records.export import export
from labd.records.tracing import traced
from labd.version import VERSION

_KINDS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet", ".json": "application/json"}


async def gather(
    name: str,
    kind: str,
    runs: Sequence[RunState],
    lab: Lab,
    journal: Journal,
    store: SignalStore,
    folder: Path,
    *,
    every: Sequence[RunState] = (),
    licence: str | None = None,
    files: Mapping[str, str] | None = None,
) -> Contents:
    """All that belongs in the crate of some runs.

    Args:
        name: of the run, the batch or the campaign.
        kind: which of these it is.
        runs: its runs, oldest first.
        lab: where they were made.
        journal: what is written of them.
        store: their data.
        folder: an empty one, for files of data until the crate is written.
        every: all runs of the lab; a sample's genealogy is told from all of its runs.
        licence: of the data.
        files: further texts, by name.

    Raises:
        CrateError: there is no run.
        ExportError, SignalError, JournalError, OSError: data cannot be read or written.
    """
    if not runs:
        raise CrateError(f"{name} has no run yet; there is nothing to put into a crate")
    produced: list[Produced] = []
    for state in runs:
        produced += await _data(state.run, store, journal, folder / state.run)
    samples = {state.sample: await traced(state.sample, lab, journal, every or runs) for state in runs}
    seqs = {seq for sample in samples for seq in lab.samples.beside(sample)}
    extract = await Extract.of(journal, [state.run for state in runs], seqs)
    return Contents(
        name=name,
        kind=kind,
        lab=lab.config.lab,
        runs=tuple(state.run for state in runs),
        extract=extract,
        samples=samples,
        produced=tuple(produced),
        version=await asyncio.to_thread(code_version),
        licence=licence,
        files=files or {},
    )


async def _data(run: str, store: SignalStore, journal: Journal, folder: Path) -> list[Produced]:
    written = {file.name: file for file in await export(run, "csv", folder, store, journal)}
    found: list[Produced] = []
    for series in await store.series(run=run):
        action = series.action
        file = written.get(f"{series.id}_{action or 'signals'}.csv")
        if file is None:
            continue
        unit = f".{series.unit}" if series.unit else ""
        about = f"{action or 'signals'} of {series.device}{unit}; headers are quantity / unit"
        id_ = series.id if action is not None else None
        found.append(Produced(file, f"runs/{run}/{file.name}", run, id_, series.device, about, _KINDS[file.suffix]))
    return found


def code_version() -> str:
    """The version of labd, and the commit where it runs from a checkout: `0.1.0+g1a2b3c4d`."""
    git = Path(__file__).parents[3] / ".git"
    commit = _commit(git)
    return f"{VERSION}+g{commit[:12]}" if commit else VERSION


def _commit(git: Path) -> str:
    """What is checked out, without git itself; empty where nobody can tell."""
    try:
        if git.is_file():  # a work tree of its own
            git = (git.parent / git.read_text("utf-8").partition("gitdir:")[2].strip()).resolve()
        head = (git / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref: "):
            return head
        shared = git / "commondir"
        common = (git / shared.read_text("utf-8").strip()).resolve() if shared.is_file() else git
        name = head.removeprefix("ref: ")
        if (common / name).is_file():
            return (common / name).read_text("utf-8").strip()
        return _packed((common / "packed-refs").read_text("utf-8").splitlines(), name)
    except OSError:
        return ""


def _packed(lines: Iterable[str], name: str) -> str:
    found: Any = (line.partition(" ")[0] for line in lines if line.endswith(f" {name}"))
    return str(next(found, ""))
