"""What the messages say: one frozen model a payload, JSON in UTF-8. Times are RFC 3339, UTC, microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
Stamp = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$"),
    Field(json_schema_extra={"format": "date-time"}),
]
Verb = Literal[
    "submit", "start", "hold", "unhold", "stop", "abort", "clear", "answer", "cancel", "acknowledge", "propose"
]

Words = Annotated[str, Field(max_length=2000)]

Cell = str | bool | int | float | None

COMMAND_LIFE = timedelta(seconds=30)


class Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def encode(self) -> bytes:
        """The payload as it goes over the wire."""
        return self.model_dump_json().encode()


class Status(Payload):
    """The daemon: born, or ended in order. `safe_mode` says why nothing runs, while nothing does."""

    state: Literal["online", "offline"]
    boot_id: str
    version: str
    at: Stamp
    safe_mode: str | None = None


class LastWill(Payload):
    """What the broker says of a daemon that went without a word. It has no time: nobody knows when it will be said."""

    state: Literal["lost"] = "lost"
    boot_id: str


class About(Payload):
    """What a device is. `actions` are JSON Schemas of parameters and results by name, `signals` units by name.

    `types` are JSON Schema's words for the signals' values. In a poll of a device of several units, the names are
    `UNIT.NAME`. `poll` is the longest time between two polls, s.
    `quality` is how far its driver was tried, `quirks` what a user of such a device must know.
    """

    driver: str
    role: str
    model: str
    serial: str
    firmware: str
    units: tuple[str, ...]
    actions: Mapping[str, Any]
    signals: Mapping[str, str]
    types: Mapping[str, Literal["number", "integer", "boolean", "string"]] = Field(default_factory=dict)
    poll: float | None = None
    quality: str = ""
    quirks: tuple[str, ...] = ()


class State(Payload):
    """Health of a device, why, since when, and the runs it works for."""

    health: Literal["ok", "degraded", "down"]
    problem: str | None
    since: Stamp
    busy_with: tuple[Id, ...]


class Value(Payload):
    """A value with unit and quality. `v` is null when it could not be told."""

    v: bool | int | float | str | None
    u: str
    q: Literal["good", "stale", "bad"]


class Signal(Payload):
    """One poll of a device. `seq` counts the polls of a boot: a gap in it is a message that was dropped."""

    seq: int
    boot_id: str
    at: Stamp
    values: Mapping[str, Value]


class Question(Payload):
    """What a run asks. `input` says the type of the value that it takes, `choices` what else may be said."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    kind: str = ""
    text: str = ""
    choices: tuple[str, ...] = ()
    input: Mapping[str, Any] | None = None
    asked: str | None = None


class Run(Payload):
    """Where a run is. `state` is PackML's; `protocol_state` the protocol's own; `progress` from 0 to 1."""

    protocol: str
    version: str
    sample: str
    state: str
    protocol_state: str | None
    since: Stamp
    progress: Annotated[float, Field(ge=0, le=1)]
    expected_end: Stamp | None
    outcome: str | None
    cause: str | None
    question: Question | None
    started: Stamp | None
    ended: Stamp | None


class RunEvent(Payload):
    """One journal event of a run. `seq` counts the run's events from 1 without gaps; `hash` is the journal's chain.

    `omitted` says why `data` was left out where the broker takes no message of that size, and where the whole is.
    """

    seq: Annotated[int, Field(ge=1)]
    at: Stamp
    kind: str
    data: Mapping[str, Any]
    hash: str
    omitted: str | None = None


class Alarm(Payload):
    """Something that a person should know. `about` is the device or run, or `lab`."""

    severity: Literal["warning", "problem", "critical"]
    about: str
    text: str
    since: Stamp
    acknowledged_by: str | None


class Job(Payload):
    """A job of the queue and its ISA-95 state; `why` says in words why it waits or is held."""

    job: Id
    batch: Id
    state: Literal["Waiting", "Ready", "Running", "Held", "Completed", "Aborted"]
    protocol: str
    sample: str
    priority: int
    run: Id | None = None
    why: str | None = None


class Queue(Payload):
    """The jobs that have not ended: those at work, then those that wait in the order of their turn, 100 at most.

    `more` says how many were left out (REST has all), `paused` why no job is started.
    """

    jobs: tuple[Job, ...]
    more: int = 0
    paused: str | None = None


class CampaignBest(Payload):
    """The best experiment of a campaign so far; `units` are those of the numbers of its point that have one."""

    proposal: Id
    sample: Id
    run: Id | None
    point: Mapping[str, float | str]
    units: Mapping[str, str]
    values: Mapping[str, Mapping[str, Any]]


class Campaign(Payload):
    """Where a campaign is; `why` says of what it is paused or has ended, `by` who started it.

    `experiments` counts its proposals by what became of them: proposed, queued, running, observed, failed, lost
    (ended by a person or the lab: it says nothing of its point), vetoed, refused (the lab cannot make it). `budget`
    says of cells, time, money and mass how much is used `of` how much, with the unit.
    """

    name: str
    version: str
    state: Literal["working", "paused", "ended"]
    why: str | None
    by: str
    since: Stamp
    started: Stamp
    optimiser: str
    rounds: int
    experiments: Mapping[str, int]
    best: CampaignBest | None
    budget: Mapping[str, Mapping[str, Any]]
    ended: Stamp | None


class CampaignAsk(Payload):
    """What a campaign with `optimiser: external` asks: `count` points, to be answered by the command `propose`.

    `problem` has the space, the constraints, what is wanted, and points to `avoid` (vetoed, or refused by the lab);
    `told` all that was observed (`failed` ones have a cause and no values), `pending` the points that are being made.
    Numbers are in the units that `problem` names.
    """

    ask: Annotated[int, Field(ge=1)]
    count: Annotated[int, Field(ge=1)]
    problem: Mapping[str, Any]
    told: tuple[Mapping[str, Any], ...]
    pending: tuple[Mapping[str, float | str], ...]


class Summary(Payload):
    """The lab in numbers, for Home Assistant: published only with `mqtt.home_assistant: true`.

    `alarms` are those that stand, 20 at most.
    """

    runs: int
    held: int
    questions: int
    waiting: int
    paused: str | None
    alarms: tuple[Alarm, ...]
    more_alarms: int = 0
    at: Stamp


class Command(Payload):
    """An order by a user. It lives for 30 s at most: what comes later was meant for another situation."""

    command_id: Id
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    verb: Verb
    arguments: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _short_lived(self) -> Command:
        if not timedelta(0) < self.expires_at - self.issued_at <= COMMAND_LIFE:
            raise ValueError(f"expires_at must be after issued_at, by {COMMAND_LIFE.total_seconds():g} s at most")
        return self


class RunOrder(Payload):
    """One run, or all of the lab; to abort all makes every device safe, too."""

    run: Id | None = None
    all: bool = False
    cause: Words | None = None

    @model_validator(mode="after")
    def _one_or_all(self) -> RunOrder:
        if self.all == (self.run is not None):
            raise ValueError('name one run, {"run": "run-0001"}, or all, {"all": true}')
        return self


class UnholdOrder(Payload):
    """One run; `at` is the state of the protocol to go on with, where the run needs one to be named."""

    run: Id
    at: str | None = None
    cause: Words | None = None


class ClearOrder(Payload):
    """One run that has ended and whose sample has left the lab; or an interlock that has tripped and is over."""

    run: Id | None = None
    interlock: str | None = None
    cause: Words | None = None

    @model_validator(mode="after")
    def _one(self) -> ClearOrder:
        if (self.run is None) == (self.interlock is None):
            raise ValueError('name one run, {"run": "run-0001"}, or one interlock, {"interlock": "oxygen"}')
        return self


class AcknowledgeOrder(Payload):
    """An alarm that a person has seen."""

    alarm: Id


class AnswerOrder(Payload):
    """One run that asks; `value` where the question asks for one: `"35 µL"`, or a JSON value.

    `question` is the id of the one that is meant, as the run's state tells it: what is asked meanwhile is not answered.
    """

    run: Id
    question: Id | None = None
    choice: Words = ""
    value: JsonValue = None


class StartOrder(Payload):
    """A protocol's YAML text, with what its parameters are to be. The result of `done` names the run."""

    protocol: Annotated[str, Field(min_length=1, max_length=2_000_000)]
    name: Annotated[str, Field(max_length=1000)] = "protocol.yaml"
    parameters: Mapping[str, JsonValue] = Field(default_factory=dict)
    called: Annotated[Mapping[str, str], Field(max_length=100)] = Field(default_factory=dict)
    sample: str | None = None
    position: str | None = None


class SubmitOrder(Payload):
    """A protocol's YAML text for many samples: `rows` of a table by their headers, or `count` of them.

    Headers are parameters and `sample`, `barcode`, `position`, `priority`, `active_mass`; one may say a unit,
    `volume [µL]`. The result of `done` names batch and jobs. Nothing is queued where one row does not hold.
    """

    protocol: Annotated[str, Field(min_length=1, max_length=2_000_000)]
    name: Annotated[str, Field(max_length=1000)] = "protocol.yaml"
    called: Annotated[Mapping[str, str], Field(max_length=100)] = Field(default_factory=dict)
    rows: Annotated[tuple[Mapping[str, Cell], ...], Field(min_length=1, max_length=1000)] | None = None
    count: Annotated[int, Field(ge=1, le=1000)] | None = None
    parameters: Mapping[str, JsonValue] = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    again: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> SubmitOrder:
        if (self.rows is None) == (self.count is None):
            raise ValueError("give rows, or count for samples that differ in nothing")
        return self


class CancelOrder(Payload):
    """One job that was not started, or all such jobs of a batch."""

    job: Id | None = None
    batch: Id | None = None
    why: Words | None = None

    @model_validator(mode="after")
    def _one(self) -> CancelOrder:
        if (self.job is None) == (self.batch is None):
            raise ValueError('name one job, {"job": "job-0001"}, or one batch, {"batch": "batch-0001"}')
        return self


class ProposeOrder(Payload):
    """The answer of an optimiser outside to a campaign's ask: at most `count` points, and why, where it says.

    The same ask answered again is taken once; the result of `done` names the proposals that were made of it.
    """

    campaign: Id
    ask: Annotated[int, Field(ge=1)]
    points: Annotated[tuple[Mapping[str, float | str], ...], Field(min_length=1, max_length=200)]
    why: Annotated[tuple[Words, ...], Field(max_length=200)] = ()


class Reply(Payload):
    """`accepted` or `rejected` with the reason at once; later `done` or `failed`."""

    command_id: Id
    state: Literal["accepted", "rejected", "done", "failed"]
    reason: str | None = None
    result: Mapping[str, Any] | None = None


ORDERS: Mapping[Verb, type[Payload]] = {
    "start": StartOrder,
    "submit": SubmitOrder,
    "hold": RunOrder,
    "unhold": UnholdOrder,
    "stop": RunOrder,
    "abort": RunOrder,
    "clear": ClearOrder,
    "answer": AnswerOrder,
    "cancel": CancelOrder,
    "acknowledge": AcknowledgeOrder,
    "propose": ProposeOrder,
}
"""By verb: what its `arguments` are."""
