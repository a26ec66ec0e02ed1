"""One device over /api/v1, in a person's hands: actions, positions, calibrations, recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from labd.api.errors import UnknownDeviceError
from labd.api.holding import released
from labd.api.marks import LONGEST_WAIT
from labd.api.models import Who, Words
from labd.journal import NewEvent
from labd.lab.device import Device
from labd.lab.interlocks import GuardError
from labd.lab.recording import LONGEST, Recording
from labd.lab.teaching import Given, Teaching
from labd.run.acts import Act
from labd.run.engine import Engine

Name = Annotated[str, Field(min_length=1, max_length=128)]
Span = Annotated[str, Field(min_length=1, max_length=64)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class CallRequest(_Model):
    """Orders an action by hand; parameters are texts (`7.8 kN`) or JSON; `unit` where the device has several."""

    action: Name
    parameters: Annotated[dict[str, JsonValue], Field(max_length=100)] = Field(default_factory=dict)
    unit: Annotated[str, Field(max_length=64)] | None = None
    by: Who
    cause: Words | None = None


class SettleRequest(_Model):
    """A person's word about an action that nobody knows about."""

    choice: Literal["done", "not done", "scrap"]
    by: Who


class CancelRequest(_Model):
    by: Who


class TeachRequest(_Model):
    """Takes the arm's present pose as a position; `valid` says how long it is good: `90 day`."""

    position: Name
    valid: Span | None = None
    by: Who


class CalibrateRequest(_Model):
    """What was found, by name; `valid` says how long it is good: `365 day`."""

    values: Annotated[dict[str, Annotated[str, Field(max_length=1000)]], Field(min_length=1, max_length=100)]
    valid: Span | None = None
    by: Who


class RecordRequest(_Model):
    """Begins a recording of what goes over the device's links; it ends by itself after so many seconds."""

    seconds: Annotated[float, Field(gt=0, le=LONGEST)] = 3600.0
    by: Who


class ActModel(_Model):
    """An action ordered by hand. `state`: running, done, failed, or unknown: then `message` asks a person."""

    id: str
    device: str
    unit: str
    action: str
    parameters: dict[str, Any]
    sample: str
    by: str
    cause: str | None
    state: str
    result: dict[str, Any] | None
    message: str | None
    started: str
    ended: str | None

    @classmethod
    def of(cls, act: Act) -> ActModel:
        return cls.model_validate(act)


class GivenModel(_Model):
    """What was taught or calibrated. `named`: whether lab.yaml names the file, so that the next start reads it."""

    device: str
    name: str
    value: Any
    day: str
    by: str
    valid: str | None
    ends: str | None
    before: Any
    file: Path
    named: bool

    @classmethod
    def of(cls, given: Given) -> GivenModel:
        return cls.model_validate(given)


class RecordingModel(_Model):
    """How a recording stands. `transcripts`, one a link, only of one that was ended; `full`: it became too long."""

    device: str
    by: str
    begun: str
    on: bool
    entries: int
    full: bool
    transcripts: list[str] = Field(default_factory=list)


class ClockModel(_Model):
    """s that a device's clock is ahead of the daemon's machine; None where it has none, or does not answer."""

    offset: float | None


def device_routes(api: APIRouter, engine: Engine) -> None:
    """Adds the routes."""
    devices = engine.lab.devices

    def known(name: str) -> Device:
        if name not in devices:
            raise UnknownDeviceError(f"there is no device {name!r}; there are: {', '.join(devices)}")
        return devices[name]

    @api.get("/devices/{device_id}/clock")
    async def device_clock(device_id: str) -> ClockModel:
        """Asks a device for its own time."""
        with released():
            return ClockModel(offset=await known(device_id).clock_offset())

    _action_routes(api, engine)
    _teaching_routes(api, engine)
    _recording_routes(api, engine)


def _action_routes(api: APIRouter, engine: Engine) -> None:
    by_hand, devices = engine.by_hand, engine.lab.devices

    @api.get("/devices/{device_id}/actions")
    async def acts(device_id: str) -> list[ActModel]:
        """What is ordered by hand and under way, or waits for a person's word."""
        if device_id not in devices:
            raise UnknownDeviceError(f"there is no device {device_id!r}; there are: {', '.join(devices)}")
        return [ActModel.of(act) for act in by_hand.acts(device_id)]

    @api.post("/devices/{device_id}/actions", status_code=201)
    async def call(device_id: str, request: CallRequest) -> ActModel:
        """Leases the device and begins an action; who ordered it is durable when this answers."""
        act = await by_hand.order(
            device_id, request.action, request.parameters, unit=request.unit, by=request.by, cause=request.cause
        )
        return ActModel.of(act)

    @api.get("/devices/{device_id}/actions/{act_id}")
    async def act(device_id: str, act_id: str, wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0) -> ActModel:
        """One action; answers when it has ended or a person is asked, after so many seconds in any case."""
        del device_id
        with released():
            return ActModel.of(await by_hand.wait(act_id, wait))

    @api.post("/devices/{device_id}/actions/{act_id}/answer")
    async def answer(device_id: str, act_id: str, request: SettleRequest) -> ActModel:
        """Says what became of an action that nobody knows about; it is durable when this answers."""
        del device_id
        return ActModel.of(await by_hand.answer(act_id, request.choice, request.by))

    @api.post("/devices/{device_id}/actions/{act_id}/cancel")
    async def cancel(device_id: str, act_id: str, request: CancelRequest) -> ActModel:
        """Ends an action: in order where its driver can, else its unit is made safe."""
        del device_id
        with released():
            return ActModel.of(await by_hand.cancel(act_id, request.by))


def _teaching_routes(api: APIRouter, engine: Engine) -> None:
    teaching = Teaching(engine.lab, engine.journal)

    @api.post("/devices/{device_id}/teach")
    async def teach(device_id: str, request: TeachRequest) -> GivenModel:
        """Writes where the arm stands as a position; refused while it acts."""
        device = engine.by_hand.device(device_id)
        with released():
            given = await teaching.teach(device, request.position, by=request.by, valid=request.valid)
        return GivenModel.of(given)

    @api.post("/devices/{device_id}/calibrate")
    async def calibrate(device_id: str, request: CalibrateRequest) -> list[GivenModel]:
        """Keeps what a person has found."""
        device = engine.by_hand.device(device_id)
        given = await teaching.calibrate(device, request.values, by=request.by, valid=request.valid)
        return [GivenModel.of(one) for one in given]


def _recording_routes(api: APIRouter, engine: Engine) -> None:
    recordings: dict[str, Recording] = {}

    def told(recording: Recording, transcripts: list[str]) -> RecordingModel:
        names = ("by", "begun", "on", "entries", "full")
        values = {name: getattr(recording, name) for name in names}
        return RecordingModel(device=recording.device.id, transcripts=transcripts, **values)

    def of(name: str) -> Recording:
        if name not in recordings:
            raise GuardError(f"{name} is not being recorded")
        return recordings[name]

    async def journaled(device: str, by: str, *, on: bool) -> None:
        await engine.journal.append(NewEvent("device.recorded", {"device": device, "on": on, "by": by}))

    @api.post("/devices/{device_id}/recording", status_code=201)
    async def record(device_id: str, request: RecordRequest) -> RecordingModel:
        """Begins a recording; the device works on, whoever has it."""
        device = engine.by_hand.device(device_id)
        before = recordings.get(device_id)
        if before is not None and before.on:
            raise GuardError(f"{device_id} is being recorded by {before.by} since {before.begun}")
        recordings[device_id] = recording = Recording(
            device, request.by, request.seconds, simulated=engine.lab.config.devices[device_id].simulator is not None
        )
        await journaled(device_id, request.by, on=True)
        return told(recording, [])

    @api.get("/devices/{device_id}/recording")
    async def recording(device_id: str) -> RecordingModel:
        return told(of(device_id), [])

    @api.post("/devices/{device_id}/recording/end")
    async def end(device_id: str, request: CancelRequest) -> RecordingModel:
        """Ends a recording and gives its transcripts, without secrets."""
        found = of(device_id)
        found.stop()
        del recordings[device_id]
        await journaled(device_id, request.by, on=False)
        return told(found, found.texts())
