"""The check of a crate, without a network: is it whole, is each file as it was written, does the journal hold?"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from labd.journal import Event
from labd.journal.events import GENESIS, chain, encode
from labd.records import bdf
from labd.records.crate.battinfo import terms
from labd.records.crate.contents import protocols_of
from labd.records.crate.writing import JOURNAL, METADATA
from labd.records.errors import CrateError
from labd.records.record import run_record

CONTEXT = "https://w3id.org/ro/crate/1.2/context"
GONE = "the file is not there"
PROFILE = "https://w3id.org/ro/crate/1.2"


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a crate: where, what, and how to mend it."""

    where: str
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  → {self.mend}"


class DamagedError(CrateError):
    """A file of a `.zip` cannot be unpacked."""


class Box:
    """A crate as a folder or as a `.zip`: the names of its files, and what they hold. Nothing is unpacked to the disk.

    Raises:
        CrateError: it is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            self.names = {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()}
        elif zipfile.is_zipfile(path):
            try:
                self._zip = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, NotImplementedError) as error:
                raise CrateError(f"{path} is a damaged .zip: {error}; take it from its backup") from error
            self.names = {name for name in self._zip.namelist() if not name.endswith("/")}
        else:
            raise CrateError(f"{path} is neither a folder nor a .zip" if path.exists() else f"there is no {path}")
        if METADATA not in self.names:
            raise CrateError(f"{path} is no RO-Crate: it has no {METADATA}")

    def read(self, name: str) -> bytes:
        """What a file of it holds; only files that `names` has. Raises DamagedError."""
        if self._zip is None:
            return (self.path / name).read_bytes()
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last: it is encrypted
            raise DamagedError(f"{name} of {self.path} cannot be unpacked: {error}; take it from its backup") from error

    def events(self) -> list[Event]:
        """The events of its journal extract, oldest first; nothing is checked."""
        rows = (json.loads(line) for line in self.read(JOURNAL).splitlines() if line.strip())
        return [Event(row["seq"], row["at"], row["run"], row["kind"], row["data"], row["hash"]) for row in rows]


def check(path: Path) -> list[Flaw]:
    """All that is wrong with a crate that labd wrote; nothing when it holds.

    Raises:
        CrateError: it is no crate at all.
    """
    box = Box(path)
    try:
        graph = json.loads(box.read(METADATA))
        entities = {entity["@id"]: entity for entity in graph["@graph"]}
    except (ValueError, KeyError, TypeError) as error:
        mend = "write the crate again, or take it from its backup"
        return [Flaw(METADATA, f"it cannot be read: {error!r}", mend)]
    looks: list[tuple[str, Callable[[], Iterable[Flaw]]]] = [
        (METADATA, lambda: _metadata(graph, entities)),
        (METADATA, lambda: _files(box, entities)),
        (METADATA, lambda: _references(entities)),
        (JOURNAL, lambda: _journal(box)),
    ]
    looks += [(name, partial(_words, box, name)) for name in sorted(box.names) if name.endswith(".jsonld")]
    looks += [(name, partial(_sign, box, name)) for name in sorted(box.names) if name.endswith(".bdf.csv")]
    flaws = [flaw for where, look in looks for flaw in _looked(where, look)]
    gone = {flaw.where for flaw in flaws if flaw.what == GONE}
    return [flaw for flaw in flaws if flaw.what == GONE or flaw.where not in gone]  # once is enough


def _looked(where: str, look: Callable[[], Iterable[Flaw]]) -> list[Flaw]:
    """What one look finds: whatever a stranger has put into a crate is a flaw of it, and ends no look but its own."""
    found: list[Flaw] = []
    try:
        found.extend(look())
    except DamagedError:  # the look at the files tells it
        pass
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        found.append(Flaw(where, f"it is not as labd writes it: {error!r}", _changed(where)))
    return found


# ── the metadata ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _metadata(graph: Mapping[str, Any], entities: Mapping[str, Any]) -> Iterator[Flaw]:
    again = "write the crate again with `labd export --crate`"
    if len(entities) != len(graph["@graph"]):
        yield Flaw(METADATA, "two entities have the same @id", again)
    contexts = graph.get("@context")
    if CONTEXT not in (contexts if isinstance(contexts, list) else [contexts]):
        yield Flaw(METADATA, f"its @context is not {CONTEXT}", again)
    descriptor = entities.get(METADATA, {})
    if PROFILE not in [one.get("@id") for one in _many(descriptor.get("conformsTo"))]:
        yield Flaw(METADATA, f"it does not say that it conforms to {PROFILE}", again)
    root = entities.get(str((descriptor.get("about") or {}).get("@id")))
    if root is None:
        yield Flaw(METADATA, "it does not say which entity the crate is (`about`)", again)
        return
    for name in ("name", "description", "datePublished", "license"):
        if not root.get(name):
            yield Flaw(METADATA, f"the crate has no {name}", f"give its root entity one: {name}")
    try:
        datetime.fromisoformat(str(root.get("datePublished")))
    except ValueError:
        yield Flaw(METADATA, f"datePublished is no date: {root.get('datePublished')!r}", "write one like 2026-01-31")


def _references(entities: Mapping[str, Any]) -> Iterator[Flaw]:
    for id_, entity in entities.items():
        for name, value in entity.items():
            for one in _many(value):
                target = one.get("@id") if isinstance(one, Mapping) else None
                if target is None or target in entities or "://" in target:
                    continue
                yield Flaw(
                    id_, f"{name} names {target}, which the crate does not describe", "describe it, or leave it away"
                )


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


# ── the files ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _files(box: Box, entities: Mapping[str, Any]) -> Iterator[Flaw]:
    described = {unquote(id_): one for id_, one in entities.items() if "File" in _many(one.get("@type"))}
    for name, entity in described.items():
        if name not in box.names:
            yield Flaw(name, GONE, "take it from the crate's backup, or write the crate again")
            continue
        try:
            data = box.read(name)
        except DamagedError as error:
            yield Flaw(name, str(error), _changed(name))
            continue
        size, digest = entity.get("contentSize"), entity.get("sha256")
        if size is None or digest is None:
            yield Flaw(name, "its size or its SHA-256 is not told: it may have been changed", _again(METADATA))
        elif str(size) != str(len(data)):
            yield Flaw(name, f"it has {len(data)} bytes, and had {size} when it was written", _changed(name))
        elif digest != hashlib.sha256(data).hexdigest():
            yield Flaw(name, "its SHA-256 is another than when it was written", _changed(name))
    for name in sorted(box.names - described.keys() - {METADATA}):
        yield Flaw(
            name, "the crate's metadata does not describe this file", f"describe it in {METADATA}, or take it out"
        )


def _again(name: str) -> str:
    return f"{name} was taken out: take the crate from its backup, or write it again with `labd export --crate`"


def _changed(name: str) -> str:
    return f"{name} was changed or damaged: take it from the crate's backup"


# ── the journal ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _journal(box: Box) -> Iterator[Flaw]:
    if JOURNAL not in box.names:
        yield Flaw(JOURNAL, "the crate has no extract of the journal, so nothing shows what was done", _again(JOURNAL))
        return
    broken = "the journal's extract was changed: compare it with the lab's own journal, `labd journal verify`"
    last: tuple[int, str] = (0, GENESIS)
    events: list[Event] = []
    for number, line in enumerate(box.read(JOURNAL).splitlines(), 1):
        where = f"{JOURNAL}:{number}"
        try:
            row = json.loads(line)
            event = Event(row["seq"], row["at"], row["run"], row["kind"], row["data"], row["hash"])
            made = chain(row["before"], event.seq, event.at, event.run, event.kind, encode(event.kind, event.data))
        except (ValueError, KeyError, TypeError) as error:
            yield Flaw(where, f"the line cannot be read: {error!r}", broken)
            continue
        if made != event.hash:
            yield Flaw(where, f"event {event.seq} is not what its hash says", broken)
        if event.seq == last[0] + 1 and row["before"] != last[1]:
            yield Flaw(where, f"event {event.seq} does not follow event {last[0]}", broken)
        if event.seq <= last[0]:
            yield Flaw(where, f"event {event.seq} stands after event {last[0]}", broken)
        last = (event.seq, event.hash)
        events.append(event)
    yield from _looked(JOURNAL, lambda: _records(box, events))
    yield from _looked(JOURNAL, lambda: _protocols(box, events))


def _records(box: Box, events: Iterable[Event]) -> Iterator[Flaw]:
    """Each run's record is what its events say."""
    by_run: dict[str, list[Event]] = {}
    for event in events:
        if event.run is not None:
            by_run.setdefault(event.run, []).append(event)
    held = {name.split("/")[1] for name in box.names if name.startswith("runs/") and name.count("/") > 1}
    for run in sorted(held):
        name, own = f"runs/{run}/run.json", by_run.get(run, [])
        if not any(event.kind == "run.started" for event in own):
            yield Flaw(f"runs/{run}", "the journal's extract does not say that it began", _again(JOURNAL))
            continue
        if name not in box.names:
            yield Flaw(name, "the run's record is not there", _again(name))
            continue
        try:
            told = json.loads(box.read(name))
        except ValueError as error:
            yield Flaw(name, f"it cannot be read: {error}", _changed(name))
            continue
        if told != json.loads(json.dumps(run_record(own))):
            yield Flaw(name, "it is not what the journal's extract says", _changed(name))


def _protocols(box: Box, events: Iterable[Event]) -> Iterator[Flaw]:
    """Each protocol is what the journal says was run."""
    for known, text in protocols_of(events).items():
        name = f"protocols/{known}.yaml"
        if name not in box.names:
            yield Flaw(name, "the protocol was run, and is not there", _again(name))
        elif box.read(name) != text.encode():
            yield Flaw(name, "it is not what the journal's extract says was run", _changed(name))


# ── the words ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _words(box: Box, name: str) -> Iterator[Flaw]:
    """Each type and relation of a document in BattINFO's words is one that its own context has an address for."""
    try:
        linked = json.loads(box.read(name))
        known = set(linked["@context"]) | set(terms())
        used = sorted(set(_used(linked["@graph"])))
    except (ValueError, KeyError, TypeError) as error:
        yield Flaw(name, f"it cannot be read: {error!r}", _changed(name))
        return
    for word in used:
        if word not in known and word.partition(":")[0] not in known:
            yield Flaw(
                name, f"{word} has no meaning here", "use BattINFO's word for it, or schema.org's with `schema:`"
            )


def _used(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _used(one)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key == "@type":
                yield from map(str, _many(value))
            elif not key.startswith("@"):
                yield key
                yield from _used(value)


# ── the sign ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _sign(box: Box, name: str) -> Iterator[Flaw]:
    """In Battery Data Format a positive current charges; a file whose sign was turned passes every other check."""
    with tempfile.NamedTemporaryFile(suffix=".bdf.csv") as file:
        file.write(box.read(name))
        file.flush()
        try:
            bdf.check_sign(bdf.read(Path(file.name)).columns)
        except bdf.BdfError as error:
            yield Flaw(name, str(error).replace(file.name, name), _changed(name))
