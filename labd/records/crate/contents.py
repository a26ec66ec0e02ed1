"""What goes into a crate, before any of it is a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.journal import Event, Journal
from labd.journal.events import GENESIS

BESIDE = frozenset({"daemon.started", "device.identified", "device.calibrated"})
"""Kinds of events outside of runs that tell with what a run was made."""


@dataclass(frozen=True, slots=True)
class Produced:
    """A file of data, and where it came from.

    Args:
        path: of the file, as it lies now.
        name: in the crate.
        run: that made it; empty for what is of all of them.
        action: the id of the action, or None for what was worked out from several.
        about: what it is, in words.
        kind: its MIME type.
        missing: it is no data, but says why there are none; `about` has the reason.
    """

    path: Path
    name: str
    run: str
    action: str | None = None
    about: str = ""
    kind: str = "application/octet-stream"
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Extract:
    """Events of the journal, oldest first, each with the hash of the one before it in the journal."""

    events: tuple[Event, ...]
    before: Mapping[int, str]

    @classmethod
    async def of(cls, journal: Journal, runs: Iterable[str], seqs: Iterable[int] = ()) -> Extract:
        """All events of some runs, what was beside them, and single events by their numbers."""
        found: dict[int, Event] = {}
        for run in runs:
            found |= {event.seq: event for event in await journal.events(run=run)}
        beside = await journal.events(kinds=BESIDE)
        found |= {event.seq: event for event in _during(beside, min(found, default=0), max(found, default=0))}
        if wanted := frozenset(seqs) - found.keys():
            found |= {event.seq: event for event in await journal.events(seqs=wanted)}
        missing = frozenset(seq - 1 for seq in found if seq > 1 and seq - 1 not in found)
        hashes = {event.seq: event.hash for event in found.values()}
        if missing:
            hashes |= {event.seq: event.hash for event in await journal.events(seqs=missing)}
        events = tuple(found[seq] for seq in sorted(found))
        return cls(events, {event.seq: hashes.get(event.seq - 1, GENESIS) for event in events})

    def of_run(self, run: str) -> list[Event]:
        """The events of one run, oldest first."""
        return [event for event in self.events if event.run == run]

    def rows(self) -> list[dict[str, Any]]:
        """A JSON object an event: what `labd journal verify` works out its hash from, and the hash."""
        return [
            {
                "before": self.before[event.seq],
                "seq": event.seq,
                "at": event.at,
                "run": event.run,
                "kind": event.kind,
                "data": event.data,
                "hash": event.hash,
            }
            for event in self.events
        ]


@dataclass(frozen=True, slots=True)
class Contents:
    """A run, a batch or a campaign with all that is known of it.

    Args:
        name: `run-0001`, `batch-0002`, or the campaign's name.
        kind: which of the three.
        lab: the lab's name.
        runs: their ids, in the order in which they began.
        extract: what the journal says.
        samples: genealogies by sample.
        produced: files of data and plots.
        version: labd's, with the commit where it runs from a checkout.
        licence: of the data, an address or a text; None: nobody has said.
        files: further texts by name in the crate, such as the campaign's own file.
    """

    name: str
    kind: str
    lab: str
    runs: tuple[str, ...]
    extract: Extract
    samples: Mapping[str, Mapping[str, Any]]
    produced: tuple[Produced, ...]
    version: str
    licence: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def devices(self) -> dict[str, dict[str, Any]]:
        """What each device was that the runs used: as it last identified itself before their end."""
        used = {str(event.data.get("device")) for event in self.extract.events if event.kind == "action.intended"}
        last = max((event.seq for event in self.extract.events if event.run in self.runs), default=0)
        found: dict[str, dict[str, Any]] = {}
        for event in self.extract.events:
            name = str(event.data.get("device"))
            if name not in used or event.seq > last:
                continue
            if event.kind == "device.identified":
                found[name] = {**event.data, "calibrations": dict(event.data["calibrations"]), "seen": event.at}
            elif event.kind == "device.calibrated" and name in found:
                given = {key: event.data.get(key) for key in ("value", "calibrated", "by", "ends")}
                found[name]["calibrations"][event.data["name"]] = given
        return {name: found.get(name, {"device": name}) for name in sorted(used)}

    def protocols(self) -> dict[str, str]:
        """The texts of all protocols that were run or called, by `name@version`."""
        return protocols_of(self.extract.events)

    def lacks(self) -> list[str]:
        """What could not be written into it, with why."""
        return [one.about for one in self.produced if one.missing]


def protocols_of(events: Iterable[Event]) -> dict[str, str]:
    """The texts of all protocols that some events say were run or called, by `name@version`.

    Where a text was changed without another version, both are kept; the later one has its hash behind its name.
    """
    found: dict[str, str] = {}
    for event in events:
        if event.kind == "run.started":
            data = event.data
            texts = {f"{data['protocol']}@{data['version']}": str(data["source"])}
            texts |= {f"{name}@{_version(text)}": text for name, text in (data.get("called") or {}).items()}
            for name, text in texts.items():
                known = found.setdefault(name, text)
                if known != text:
                    found[f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"] = text
    return found


def _version(text: str) -> str:
    """A protocol's version as its text has it."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "version":
            return value.partition("#")[0].strip().strip("'\"")
    return "unknown"


def _during(events: Iterable[Event], first: int, last: int) -> list[Event]:
    """Those between two numbers, and of each kind and device the last one before."""
    before: dict[tuple[Any, ...], Event] = {}
    within: list[Event] = []
    for event in events:
        if event.seq < first:
            before[event.kind, event.data.get("device"), event.data.get("name")] = event
        elif event.seq <= last:
            within.append(event)
    return [*before.values(), *within]
