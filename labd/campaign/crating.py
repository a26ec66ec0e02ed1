"""A campaign as a research object: its file, its proposals, and all of its runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labd.campaign.state import Record
from labd.journal import Journal
from labd.lab.bus import RunState


@dataclass(frozen=True, slots=True)
class Belongs:
    """What of a campaign goes into its crate: its runs, oldest first, its file by name, and its own events."""

    runs: list[RunState]
    files: dict[str, str]
    seqs: list[int]


async def belongs(record: Record, every: Sequence[RunState], journal: Journal) -> Belongs:
    """What belongs to a campaign.

    Args:
        record: the campaign.
        every: all runs of the lab.
        journal: where its proposals stand, and what people said of them.
    """
    own = {one.run for one in record.all if one.run is not None}
    kinds = frozenset(f"campaign.{word}" for word in WORDS)
    events = [event for event in await journal.events(kinds=kinds) if event.data.get("campaign") == record.id]
    name = re.sub(r"[^\w.-]+", "_", record.name)
    files = {f"campaign/{name}.yaml": str(record.data["source"])}
    return Belongs([state for state in every if state.run in own], files, [event.seq for event in events])


WORDS = ("started", "proposed", "edited", "vetoed", "refused", "kept", "observed", "paused", "resumed", "ended")
