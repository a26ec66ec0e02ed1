"""What goes over /api/v1: requests and answers, as models that refuse what they do not know."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from labd.journal import Event
from labd.lab.bus import Alarm, RunState, Value
from labd.lab.device import Device
from labd.lab.interlocks import Watch
from labd.lab.samples import quantity_in

Who = Annotated[str, Field(min_length=1, max_length=64)]
Words = Annotated[str, Field(max_length=2000)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────
class StartRequest(_Model):
    """Starts a run. `protocol` is the file's text, `name` its name for messages; parameters are texts or JSON.

    `called` are the texts of the protocols that it calls, by their names; those that ship with labd need not be sent.
    """

    protocol: Annotated[str, Field(min_length=1, max_length=2_000_000)]
    name: Annotated[str, Field(max_length=1000)] = "protocol.yaml"
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    called: Annotated[dict[str, Annotated[str, Field(max_length=2_000_000)]], Field(max_length=100)] = Field(
        default_factory=dict
    )
    sample: str | None = None
    position: str | None = None
    by: Who


class CommandRequest(_Model):
    """An operator's command; `at` is the state of the protocol to go on with (unhold)."""

    by: Who
    cause: Words | None = None
    at: str | None = None


class OrderRequest(_Model):
    """An order to the whole lab."""

    by: Who
    cause: Words | None = None


class ResumeRequest(_Model):
    """Ends safe mode."""

    by: Who


class AnswerRequest(_Model):
    """An operator's answer; `value` where the question asks for a typed one.

    `question` is the id of the question that is meant; one that is asked meanwhile is not answered by it.
    """

    question: str | None = None
    choice: Words = ""
    value: JsonValue = None
    by: Who


class ExportRequest(_Model):
    """Writes a run's data as files; `directory` is the daemon's (default: `exports/<run>` of its store)."""

    to: Literal["csv", "parquet", "arrow", "bdf", "bdf-parquet", "netcdf", "plots"]
    directory: Path | None = None


class ByRequest(_Model):
    """Who says so."""

    by: Who


class NoteRequest(_Model):
    """What is said of a sample: only what is there is touched. An empty barcode, and null, take away.

    `active_mass` is a text (`12.3 mg`) or `{"v", "u"}`; `about` is whatever else is known, by name.
    """

    barcode: Annotated[str, Field(max_length=1000)] | None = None
    active_mass: str | dict[str, JsonValue] | None = None
    about: Annotated[dict[str, JsonValue], Field(max_length=100)] = Field(default_factory=dict)
    note: Words | None = None
    by: Who

    @field_validator("active_mass")
    @classmethod
    def _mass(cls, value: str | dict[str, JsonValue] | None) -> float | None:
        found = quantity_in(value, "g")
        if value is not None and found is None:
            raise ValueError(f"{value!r} is no mass; write such as '12.3 mg'")
        return found

    def changes(self) -> dict[str, Any]:
        """What is there, as `Samples.note` takes it: the mass in g."""
        given: dict[str, Any] = {name: getattr(self, name) for name in _SAID if name in self.model_fields_set}
        return {**given, "barcode": given["barcode"] or None} if "barcode" in given else given


_SAID = ("barcode", "active_mass", "about")


class MaintenanceRequest(_Model):
    """Takes a device from runs for a person, or gives it back; `reason` says what is done to it."""

    on: bool
    reason: Annotated[Words, Field(min_length=1)] | None = None
    by: Who

    @model_validator(mode="after")
    def _says_why(self) -> MaintenanceRequest:
        if self.on == (self.reason is None):
            raise ValueError("say why it is taken with `reason`" if self.on else "`reason` is for taking it only")
        return self


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────
class RunModel(_Model):
    """Where a run is. `state` is PackML's, `protocol_state` the protocol's; `progress` from 0 to 1."""

    run: str
    protocol: str
    version: str
    sample: str
    state: str
    protocol_state: str | None
    since: str
    progress: float
    expected_end: str | None
    outcome: str | None
    cause: str | None
    question: dict[str, Any] | None
    started: str | None
    ended: str | None

    @classmethod
    def of(cls, state: RunState) -> RunModel:
        return cls.model_validate(state)


class EventModel(_Model):
    """One event of the journal."""

    seq: int
    at: str
    run: str | None
    kind: str
    data: dict[str, JsonValue]
    hash: str

    @classmethod
    def of(cls, event: Event) -> EventModel:
        return cls.model_validate(event)


class EventsModel(_Model):
    """Events, oldest first; `after` is what to ask for next, None at the end."""

    events: list[EventModel]
    after: int | None


class SignalModel(_Model):
    """A signal's last value, unit and quality (good, stale, bad)."""

    v: float | int | bool | str | None
    u: str
    q: str


class MaintenanceModel(_Model):
    """That a person works on a device; `since` is a day or a time, or empty."""

    reason: str
    by: str
    since: str


class DeviceModel(_Model):
    """A device's health and signals, and whether somebody works on it; `read` is when its signals were last read."""

    device: str
    driver: str
    role: str
    health: str
    problem: str | None
    since: str
    busy_with: list[str]
    units: list[str]
    maintenance: MaintenanceModel | None
    read: str | None
    signals: dict[str, SignalModel]

    @classmethod
    def of(cls, device: Device) -> DeviceModel:
        return cls.model_validate(_device(device))


class DeviceDetailModel(DeviceModel):
    """A device with what it is and what it can be told to do.

    `quality` is how far its driver was tried: draft, simulated, recorded, hardware-verified with day and firmware.
    """

    model: str
    serial: str
    firmware: str
    quality: str
    quirks: list[str]
    actions: dict[str, Any]

    @classmethod
    def of(cls, device: Device) -> DeviceDetailModel:
        about = device.describe()
        more = {"model": about.model, "serial": about.serial, "firmware": about.firmware, "actions": about.actions}
        more |= {"quality": about.quality, "quirks": list(about.quirks)}
        return cls.model_validate(_device(device) | more)


def _device(device: Device) -> dict[str, Any]:
    state = device.state()
    return {
        "device": device.id,
        "driver": device.kind,
        "role": device.driver.role,
        "health": state.health,
        "problem": state.problem,
        "since": state.since,
        "busy_with": list(state.busy_with),
        "units": list(device.driver.units),
        "maintenance": device.upkeep,
        "read": device.read_stamp or None,
        "signals": {name: _signal(value) for name, value in device.signals.items()},
    }


def _signal(value: Value) -> dict[str, Any]:
    if isinstance(value.v, float) and not math.isfinite(value.v):
        return {"v": None, "u": value.u, "q": "bad"}  # JSON has no words for infinite and none
    return {"v": value.v, "u": value.u, "q": value.q}


class AlarmModel(_Model):
    """Something that a person should know. `about` is the device, the run, or `lab`."""

    id: str
    severity: str
    about: str
    text: str
    since: str
    acknowledged_by: str | None

    @classmethod
    def of(cls, alarm: Alarm) -> AlarmModel:
        fields = ("id", "severity", "about", "text", "since", "acknowledged_by")
        return cls.model_validate({name: getattr(alarm, name) for name in fields})


class InterlockModel(_Model):
    """An interlock: what it is, whether its condition holds now (None: nobody can tell), and since when it is tripped.

    `devices` are those that it locks and whose runs it is about; None: all. `builtin`: labd's own, for an E-stop.
    """

    name: str
    condition: str
    then: str
    devices: list[str] | None
    latch: bool
    builtin: bool
    holds: bool | None
    because: str
    tripped: str | None
    reason: str | None

    @classmethod
    def of(cls, watch: Watch) -> InterlockModel:
        rule, tripped = watch.rule, watch.tripped
        return cls(
            name=rule.name,
            condition=rule.condition.text,
            then=rule.then,
            devices=list(rule.devices) if rule.devices is not None else None,
            latch=rule.latch,
            builtin=rule.builtin,
            holds=watch.found.holds,
            because=watch.found.because,
            tripped=tripped.since if tripped is not None else None,
            reason=tripped.reason if tripped is not None else None,
        )


class StatusModel(_Model):
    """The daemon itself, its devices, and the runs that have not ended; `ended` counts those that have.

    `alarms` are those that have not ended; `interlocks` all.
    """

    daemon: dict[str, Any]
    devices: list[DeviceModel]
    runs: list[RunModel]
    ended: int
    alarms: list[AlarmModel]
    interlocks: list[InterlockModel]


class OrderedModel(_Model):
    """What an order to the whole lab reached.

    `runs` are those that took it; `safe` names each device that was told to make itself safe, with what went wrong, or
    null; one that is down could not be told, and is as soon as it is back. `left` names devices that were left alone,
    and why: a person works on them.
    """

    command: str
    runs: list[str]
    safe: dict[str, str | None]
    left: dict[str, str] = Field(default_factory=dict)


class ResumedModel(_Model):
    """The runs that were taken up at the end of safe mode."""

    runs: list[str]


class ExportModel(_Model):
    """The files that were written, as absolute paths on the daemon's machine."""

    files: list[Path]


class ErrorDetail(_Model):
    """What is wrong. `code` is for programs; `message` and `problems` are for people and say how to mend it."""

    code: str
    message: str
    problems: list[dict[str, JsonValue]] = Field(default_factory=list)


class ErrorModel(_Model):
    error: ErrorDetail
