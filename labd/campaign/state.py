"""Where campaigns are, as the fold of the journal: proposals, what became of each, and what people said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from labd.campaign.problem import Point
from labd.journal import Event

KINDS = frozenset(
    {
        "campaign.started",
        "campaign.proposed",
        "campaign.edited",
        "campaign.kept",
        "campaign.vetoed",
        "campaign.refused",
        "campaign.observed",
        "campaign.simulated",
        "campaign.paused",
        "campaign.resumed",
        "campaign.ended",
        "batch.submitted",
        "job.started",
        "job.cancelled",
    }
)
"""The kinds of events that the fold below reads."""
REQUEST = "campaign/"
"""How the requests begin by which campaigns queue their batches."""

Status = Literal["proposed", "queued", "running", "observed", "failed", "lost", "vetoed", "refused"]
OPEN: frozenset[Status] = frozenset({"proposed", "queued", "running"})
MADE: frozenset[Status] = frozenset({"running", "observed", "failed", "lost"})
UNMADE: frozenset[Status] = frozenset({"vetoed", "refused"})


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody said of a proposal: `word` is edited, kept, vetoed or refused."""

    at: str
    by: str
    word: str
    why: str


@dataclass(slots=True)
class Experiment:
    """A proposal, and what became of it.

    Args:
        id: `p0001`.
        ask: the number of the ask that it answers; None: a person added it.
        place: which of each `each` list it uses, from 0.
        predicted: mean and standard deviation by objective, as `{"mean", "std"}`.
        revision: how often it was edited, and one.
        before: the point that an edit replaces, until the job of it is known to be gone.
        jobs: by revision.
    """

    id: str
    campaign: str
    point: dict[str, float | str]
    by: str
    at: str
    ask: int | None = None
    place: int = 0
    why: str = ""
    predicted: Mapping[str, Any] = field(default_factory=dict)
    status: Status = "proposed"
    revision: int = 1
    before: dict[str, float | str] | None = None
    jobs: dict[int, str] = field(default_factory=dict)
    run: str | None = None
    values: dict[str, float] = field(default_factory=dict)
    cause: str = ""
    ended: str | None = None
    notes: list[Note] = field(default_factory=list)

    @property
    def sample(self) -> str:
        """The name of its sample: one that was edited after it was queued is another."""
        return f"{self.campaign}-{self.id}" + (f"-{self.revision}" if self.revision > 1 else "")

    @property
    def request(self) -> str:
        """The request by which it is queued, alone or with the others of its ask: sent twice, it is queued once."""
        if self.revision > 1:
            return f"{REQUEST}{self.campaign}/{self.id}/{self.revision}"
        return f"{REQUEST}{self.campaign}/{self.id if self.ask is None else f'ask-{self.ask}'}"

    @property
    def job(self) -> str | None:
        return self.jobs.get(self.revision)


@dataclass(slots=True)
class Record:
    """One campaign. Changed by events and nothing else.

    Args:
        asks: how many asks were answered.
        refilled: the proposals before this one used what the `each` lists named before they were filled anew.
    """

    id: str
    name: str
    by: str
    started: str
    data: Mapping[str, Any]  # of campaign.started
    experiments: dict[str, Experiment] = field(default_factory=dict)
    asks: int = 0
    refilled: int = 0
    paused: str | None = None
    paused_by: str | None = None
    ended: str | None = None
    ended_at: str | None = None
    version: int = 0  # of all that an ask depends on
    since: str = ""
    added: dict[str, dict[str, Point]] = field(default_factory=dict)  # what people have added, by request
    simulated: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)  # what virtual cells say, by fidelity

    @property
    def all(self) -> list[Experiment]:
        return list(self.experiments.values())

    @property
    def open(self) -> list[Experiment]:
        """Those of which nothing is known yet."""
        return [one for one in self.all if one.status in OPEN]

    @property
    def state(self) -> Literal["working", "paused", "ended"]:
        return "ended" if self.ended is not None else "paused" if self.paused is not None else "working"

    def of(self, *statuses: Status) -> list[Experiment]:
        return [one for one in self.all if one.status in statuses]

    @property
    def places(self) -> set[int]:
        """What of the `each` lists is used up: by all that was not vetoed before it began."""
        return {one.place for one in self.all[self.refilled :] if one.status not in UNMADE}

    def pending(self) -> list[Point]:
        return [one.point for one in self.open]


@dataclass(slots=True)
class Records:
    """All campaigns of a journal."""

    records: dict[str, Record] = field(default_factory=dict)
    _samples: dict[str, tuple[Experiment, int]] = field(default_factory=dict)  # with the revision
    _jobs: dict[str, tuple[Experiment, int]] = field(default_factory=dict)

    def apply(self, event: Event) -> str | None:
        """Takes one event in; gives the campaign that it was about."""
        data = event.data
        if not event.kind.startswith("campaign."):
            return self._of_queue(event.kind, data, event.at)
        if event.kind == "campaign.started":
            self.records[data["campaign"]] = Record(
                data["campaign"], data["name"], data["by"], event.at, data, since=event.at
            )
            return str(data["campaign"])
        record = self.records[data["campaign"]]
        record.version += 1
        match event.kind:
            case "campaign.proposed":
                self._proposed(record, data, event.at)
            case "campaign.paused":
                record.paused, record.paused_by, record.since = data["why"], data["by"], event.at
            case "campaign.resumed":
                record.paused = record.paused_by = None
                record.since = event.at
                if data.get("refilled"):
                    record.refilled = len(record.experiments)
            case "campaign.simulated":
                record.simulated[data["fidelity"]] = list(data["observations"])
            case "campaign.ended":
                record.ended, record.ended_at, record.since = data["why"], event.at, event.at
            case _:
                self._about(record.experiments[data["proposal"]], event.kind, data, event.at)
        return record.id

    def _proposed(self, record: Record, data: Mapping[str, Any], at: str) -> None:
        if data.get("ask") is not None:
            record.asks = max(record.asks, data["ask"])
        for one in data["proposals"]:
            made = Experiment(
                one["proposal"],
                record.id,
                dict(one["point"]),
                data["by"],
                at,
                data.get("ask"),
                one.get("place", 0),
                one.get("why", ""),
                one.get("predicted", {}),
            )
            record.experiments[made.id] = made
            if data.get("request") is not None:
                record.added.setdefault(data["request"], {})[made.id] = dict(one["point"])
            self._samples[made.sample] = made, 1

    def _about(self, one: Experiment, kind: str, data: Mapping[str, Any], at: str) -> None:
        """What happened to one proposal."""
        word = kind.removeprefix("campaign.")
        if word == "observed":
            one.status, one.values, one.cause = data["status"], dict(data["values"]), data.get("cause") or ""
            one.ended = at
            return
        one.notes.append(Note(at, data["by"], word, data["why"]))
        match word:
            case "edited":
                queued = one.job is not None
                one.before = dict(one.point) if queued else None
                one.point = dict(data["point"])
                one.predicted = {}
                one.status = "proposed"
                if queued:
                    one.revision += 1
                    self._samples[one.sample] = one, one.revision
            case "kept":  # what was said came too late: its run had begun
                if one.before is not None:
                    one.point, one.before = one.before, None
                    one.revision -= 1
                one.status = "running" if one.run is not None else "queued"
            case "vetoed":
                one.status, one.cause = "vetoed", f"vetoed by {data['by']}: {data['why']}"
            case "refused":
                one.status, one.cause = "refused", data["why"]

    def _of_queue(self, kind: str, data: Mapping[str, Any], at: str) -> str | None:
        """What the queue did with what was proposed."""
        if kind == "batch.submitted":
            if not str(data.get("request") or "").startswith(REQUEST):
                return None
            campaign = None
            for job in data["jobs"]:
                found = self._samples.get(job["sample"])
                if found is not None:
                    one, revision = found
                    one.jobs[revision] = job["job"]
                    self._jobs[job["job"]] = found
                    if revision == one.revision and one.status == "proposed":
                        one.status, one.before = "queued", None
                    campaign = self._changed(one)
            return campaign
        found = self._jobs.get(data["job"])
        if found is None:
            return None
        one, revision = found
        if kind == "job.started":
            one.run = data["run"]
            if revision == one.revision and one.status == "queued":
                one.status = "running"
        elif revision == one.revision and one.status == "queued":
            one.status = "vetoed"
            one.cause = f"cancelled in the queue by {data['by']}{': ' + data['why'] if data['why'] else ''}"
            one.notes.append(Note(at, data["by"], "vetoed", data["why"] or "cancelled in the queue"))
        return self._changed(one)

    def _changed(self, one: Experiment) -> str:
        self.records[one.campaign].version += 1
        return one.campaign


def records_of(events: Iterable[Event]) -> Records:
    """Folds events, oldest first."""
    records = Records()
    for event in events:
        records.apply(event)
    return records
