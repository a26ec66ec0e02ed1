"""A crate's contents, gathered from the journal, the signal store and the lab."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labd import clock
from labd.journal import Journal, SignalStore
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.records.analyst import Analyst
from labd.records.crate.contents import Contents, Extract, Produced
from labd.records.errors import CrateError, ExportError
from labd.records.export import export
from labd.records.pictures import Read
from labd.records.pictures import gather as read_runs
from labd.records.report import page, section, svgs
from labd.records.tracing import traced
from labd.version import VERSION

RESULTS, PAGE = "results.json", "report.html"


async def gather(
    name: str,
    kind: str,
    runs: Sequence[RunState],
    lab: Lab,
    journal: Journal,
    store: SignalStore,
    analyst: Analyst,
    folder: Path,
    *,
    every: Sequence[RunState] = (),
    licence: str | None = None,
    files: Mapping[str, str] | None = None,
    seqs: Iterable[int] = (),
) -> Contents:
    """All that belongs in the crate of some runs.

    Args:
        name: of the run, the batch or the campaign.
        kind: which of these it is.
        runs: its runs, oldest first.
        lab: where they were made.
        journal: what is written of them.
        store: their data.
        analyst: who works their figures out.
        folder: an empty one, for files of data until the crate is written.
        every: all runs of the lab; a sample's genealogy is told from all of its runs.
        licence: of the data.
        files: further texts, by name.
        seqs: the numbers of further events that belong to it.

    Raises:
        CrateError: there is no run.
        SignalError, JournalError, OSError: data cannot be read or written.
    """
    if not runs:
        raise CrateError(f"{name} has no run yet; there is nothing to put into a crate")
    # Results first: of a run that goes on, each series that they name has its rows among the data.
    read = await read_runs([state.run for state in runs], journal, store, analyst)
    produced: list[Produced] = []
    for state in runs:
        produced += await data_of(state.run, store, journal, folder / state.run)
    produced += await pages(name, kind, read, lab.config.lab, folder)
    samples = {state.sample: await traced(state.sample, lab, journal, every or runs) for state in runs}
    beside = {seq for sample in samples for seq in lab.samples.beside(sample)}
    extract = await Extract.of(journal, [state.run for state in runs], beside.union(seqs))
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


async def data_of(run: str, store: SignalStore, journal: Journal, folder: Path) -> list[Produced]:
    """Its series in CSV, and all that was cycled as one test in Battery Data Format.

    A test that cannot be written as such does not keep the rest out: a text in its place says why.
    """
    written = {file.name: file for file in await export(run, "csv", folder, store, journal)}
    found: list[Produced] = []
    cycled = False
    for series in await store.series(run=run):
        file = written.get(f"{series.id}_{series.action or 'signals'}.csv")
        if file is None:  # it began since
            continue
        unit = f".{series.unit}" if series.unit else ""
        about = f"{series.action or 'signals'} of {series.device}{unit}; headers are quantity / unit"
        action = series.id if series.action is not None else None
        found.append(Produced(file, f"runs/{run}/{file.name}", run, action, about, "text/csv"))
        names = {name for name, _ in series.columns}
        cycled = cycled or ({"time", "voltage", "current"} <= names and await asyncio.to_thread(_has_rows, file))
    if cycled:
        found.append(await _one_test(run, store, journal, folder))
    return found


async def _one_test(run: str, store: SignalStore, journal: Journal, folder: Path) -> Produced:
    try:
        file = next(file for file in await export(run, "bdf", folder, store, journal) if file.suffix == ".csv")
    except ExportError as error:
        said = f"why there is no {run}.bdf.csv: {error}"
        file = await asyncio.to_thread(_kept, folder / f"{run}.bdf.missing.txt", f"{said}\n")
        return Produced(file, f"runs/{run}/{file.name}", run, None, said, "text/plain", missing=True)
    about = "all that was cycled, as one test in Battery Data Format; positive current charges"
    return Produced(file, f"runs/{run}/{file.name}", run, None, about, "text/csv")


def _has_rows(file: Path) -> bool:
    with file.open(encoding="utf-8") as lines:
        return len(list(itertools.islice(lines, 2))) == 2


async def pages(name: str, kind: str, read: Sequence[Read], lab: str, folder: Path) -> list[Produced]:
    """The results of each run, its plots and its page; of several a page for all of them as well."""
    found: list[Produced] = []
    sections: list[list[str]] = []
    for one in read:
        run = str(one.told["run"])
        own = await asyncio.to_thread(section, one)
        sections.append(own)
        text = json.dumps(one.told, indent=1, ensure_ascii=False)
        results = await asyncio.to_thread(_kept, folder / run / RESULTS, text)
        about = f"the figures of {run}, with the methods' versions and the hashes of the rows that they were made of"
        found.append(Produced(results, f"runs/{run}/{RESULTS}", run, None, about, "application/json"))
        for plot, svg in svgs(one, own).items():
            file = await asyncio.to_thread(_kept, folder / run / f"{run}_{plot}.svg", svg)
            about = f"{plot.replace('_', ' ')} of {run}, drawn"
            found.append(Produced(file, f"runs/{run}/{file.name}", run, None, about, "image/svg+xml"))
        shown = page(run, "run", [one], about_page(lab, one), [own])
        file = await asyncio.to_thread(_kept, folder / run / PAGE, shown)
        found.append(Produced(file, f"runs/{run}/{PAGE}", run, None, f"the page of {run}", "text/html"))
    if kind != "run":
        whole = {"lab": lab, "at": clock.stamp(), "waiting": ()}
        shown = await asyncio.to_thread(page, name, kind, read, whole, sections)
        file = await asyncio.to_thread(_kept, folder / PAGE, shown)
        found.append(Produced(file, PAGE, "", None, f"the page of {name}", "text/html"))
    return found


def about_page(lab: str, read: Read) -> dict[str, Any]:
    """What a run's page in a crate says of itself: it was made when the run ended, so that it can be made again."""
    return {"lab": lab, "at": read.told["ended"] or read.told["started"], "waiting": ()}


def _kept(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


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
