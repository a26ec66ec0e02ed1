"""The robot-server's HTTP API, as far as the driver speaks it: runs, commands, what their errors mean.

By what a robot-server 8.1.0 does: a command that fails is answered with 201 and status `failed`, one that is still
waiting when the wait ends with 201 and status `queued` or `running`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from labd import clock
from labd.io.arrival import Orders
from labd.io.http import Answer, HttpLink
from labd.sdk import DeviceError, Fault, OutcomeUnknown, Rejected, Unreachable

WAIT = 20.0  # s; how long one request waits for its command
POLL = 0.5  # s; between two looks at a command that is not finished
SETTLE = 2.0  # s; an order that is still on its way shows within it
LOOK_FOR = 10.0  # s; how long an order whose answer was lost is looked for
PAGE = 100

_M = TypeVar("_M")


class _Wire(BaseModel):
    """What we read of an answer; the robot may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class CommandError(_Wire):
    error_type: str = ""
    error_code: str = ""
    detail: str = ""


class Command(_Wire):
    """One command of a run; `key` is the caller's own mark."""

    id: str
    key: str = ""
    command_type: str
    status: Literal["queued", "running", "succeeded", "failed"]
    params: dict[str, Any] = Field(default_factory=dict)
    result: dict[str, Any] | None = None
    error: CommandError | None = None

    @property
    def finished(self) -> bool:
        return self.status in {"succeeded", "failed"}


class LoadedPipette(_Wire):
    id: str
    pipette_name: str
    mount: str


class LoadedLabware(_Wire):
    id: str
    load_name: str
    location: Any = None

    @property
    def slot(self) -> str | None:
        return self.location.get("slotName") if isinstance(self.location, Mapping) else None


class Run(_Wire):
    id: str
    status: str
    current: bool = False
    pipettes: list[LoadedPipette] = Field(default_factory=list)
    labware: list[LoadedLabware] = Field(default_factory=list)


class PipetteData(_Wire):
    channels: int = 1
    min_volume: float = Field(alias="min_volume")
    max_volume: float = Field(alias="max_volume")


class InstrumentState(_Wire):
    """What a Flex feels at a pipette; an OT-2 has no such sensor and tells none of it."""

    tip_detected: bool | None = None


class Instrument(_Wire):
    mount: str
    instrument_type: str
    instrument_name: str = ""
    ok: bool = True
    data: Any = None
    state: InstrumentState | None = None

    @property
    def tip_detected(self) -> bool | None:
        """Whether a pipette feels a tip; None where it cannot tell."""
        return self.state.tip_detected if self.state is not None and self.ok else None


class Door(_Wire):
    status: str


class Health(_Wire):
    name: str = ""
    robot_model: str = Field(alias="robot_model")
    api_version: str = Field("", alias="api_version")
    robot_serial: str | None = Field(None, alias="robot_serial")

    @property
    def flex(self) -> bool:
        """A Flex names itself `OT-3 Standard`, an OT-2 `OT-2 Standard`."""
        return self.robot_model.startswith("OT-3") or "Flex" in self.robot_model


class RunGone(Rejected):
    """The run is unknown, or was ended: the order was refused and nothing moved."""


class RobotBusy(Unreachable):
    """Someone else's run is under way; ours would not be taken."""


class Robot:
    """One robot-server."""

    def __init__(self, link: HttpLink) -> None:
        self._link = link
        self.orders = Orders()
        self._ended: set[str] = set()  # ids of commands that we have seen end: never an answer that was lost

    async def close(self) -> None:
        await self._link.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def health(self) -> Health:
        return _checked(Health, await self._get("/health"))

    async def instruments(self) -> list[Instrument]:
        return _checked(list[Instrument], _data(await self._get("/instruments")))

    async def door_closed(self) -> bool:
        return _checked(Door, _data(await self._get("/robot/door/status"))).status == "closed"

    async def runs(self) -> list[Run]:
        """All runs that the robot remembers, oldest first."""
        return _checked(list[Run], _data(await self._get("/runs")))

    async def run(self, run: str) -> Run | None:
        """One run; None when the robot does not know it."""
        try:
            return _checked(Run, _data(await self._get(f"/runs/{run}")))
        except RunGone:
            return None

    async def commands(self, run: str, since: int = 0) -> list[Command]:
        """The commands of a run from an index on, oldest first, without their results."""
        found: dict[str, Command] = {}
        cursor = since
        while True:
            body = await self._get(f"/runs/{run}/commands", {"cursor": cursor, "pageLength": PAGE})
            page = _checked(list[Command], _data(body))
            total = int(body.get("meta", {}).get("totalLength", len(page)))
            found.update((command.id, command) for command in page)
            cursor = int(body.get("meta", {}).get("cursor", cursor)) + len(page)
            if not page or cursor >= total:
                return list(found.values())

    async def command(self, run: str, command: str) -> Command:
        """One command with its result."""
        return _checked(Command, _data(await self._get(f"/runs/{run}/commands/{command}")))

    async def count(self, run: str) -> tuple[int, str | None]:
        """How many commands a run has, and the id of the last."""
        body = await self._get(f"/runs/{run}/commands", {"cursor": 0, "pageLength": 1})
        total = int(body.get("meta", {}).get("totalLength", 0))
        last = await self.commands(run, total - 1) if total else []
        return total, last[-1].id if last else None

    # ── ordering ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def new_run(self) -> Run:
        """Makes a run; an idle one is silently ended by it. Raises RobotBusy while another is under way."""
        return _checked(Run, _data(await self._post("/runs", {})))

    async def define(self, run: str, labware: dict[str, Any]) -> None:
        """Adds a labware definition to a run."""
        await self._post(f"/runs/{run}/labware_definitions", labware)

    async def stop(self, run: str) -> None:
        """Stops a run; one that has stopped already is left so."""
        try:
            await self._post(f"/runs/{run}/actions", {"actionType": "stop"})
        except Rejected:
            found = await self.run(run)
            if found is not None and found.status in ACTIVE:
                raise

    async def execute(self, run: str, kind: str, params: Mapping[str, Any], key: str, limit: float) -> Command:
        """Orders one command, once, and waits until it has succeeded or failed.

        Raises:
            Unreachable: nothing was sent.
            RunGone, Rejected: refused; nothing moved.
            OutcomeUnknown: it was sent and is not known to have ended within the limit (s).
        """
        end = clock.monotonic() + limit
        wait = min(WAIT, limit)
        order = {"commandType": kind, "params": dict(params), "key": key}
        query: dict[str, str | int] = {"waitUntilComplete": "true", "timeout": int(wait * 1000)}
        try:
            body = await self._post(f"/runs/{run}/commands", order, query, deadline=wait + 10)
            command = _checked(Command, _data(body))
        except OutcomeUnknown as lost:
            command = await self._found(run, key, lost)
        return await self.finish(run, command, end)

    async def finish(self, run: str, command: Command, end: float) -> Command:
        """Polls a command until it has ended, up to a point of the loop's time. Raises OutcomeUnknown."""
        trouble: DeviceError | None = None
        while not command.finished:
            if clock.monotonic() >= end:
                told = f"{command.command_type} is still {command.status}"
                raise OutcomeUnknown(f"{told}; {trouble.message}" if trouble else told)
            await asyncio.sleep(POLL)
            try:
                command, trouble = await self.command(run, command.id), None
            except RunGone as error:
                raise OutcomeUnknown(f"the robot forgot its run in mid-{command.command_type}") from error
            except DeviceError as error:
                trouble = error
        self._ended.add(command.id)
        return command

    async def _found(self, run: str, key: str, lost: OutcomeUnknown) -> Command:
        """The command whose answer was lost, by its key; raises what was lost when the robot does not have it."""
        end = clock.monotonic() + LOOK_FOR
        while clock.monotonic() < end:
            await asyncio.sleep(SETTLE)
            try:
                total, _ = await self.count(run)
                for command in await self.commands(run, max(0, total - PAGE)):
                    if command.key == key and command.id not in self._ended:
                        return command
            except (Unreachable, OutcomeUnknown):
                continue
            except DeviceError as error:
                raise lost from error
        raise lost

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _get(self, path: str, query: Mapping[str, str | int] | None = None) -> Any:
        answer = await self._link.request("GET", path, query=query)
        return _accepted(answer, f"GET {path}")

    async def _post(
        self, path: str, data: Any, query: Mapping[str, str | int] | None = None, deadline: float | None = None
    ) -> Any:
        self.orders.written()
        answer = await self._link.request("POST", path, body={"data": data}, query=query, deadline=deadline)
        return _accepted(answer, f"POST {path}", order=True)


ACTIVE = frozenset(
    {
        "running",
        "paused",
        "blocked-by-open-door",
        "stop-requested",
        "finishing",
        "awaiting-recovery",
        "awaiting-recovery-paused",
        "awaiting-recovery-blocked-by-open-door",
    }
)
_GONE = {"RunNotFound", "RunStopped", "RunNotIdle"}
# Refused by the robot's software before any axis moved (opentrons/protocol_engine/errors)
_NOTHING_MOVED = {
    "TipNotAttachedError",
    "TipAttachedError",
    "InvalidAspirateVolumeError",
    "InvalidDispenseVolumeError",
    "InvalidPipettingVolumeError",
    "WellDoesNotExistError",
    "LabwareNotLoadedError",
    "LabwareDefinitionDoesNotExistError",
    "LabwareIsTipRackError",
    "LabwareIsNotTipRackError",
    "LocationIsOccupiedError",
    "AreaNotInDeckConfigurationError",
    "PipetteNotAttachedError",
    "PipetteNotLoadedError",
    "FailedToLoadPipetteError",
    "MustHomeError",
}
_NO_TIP = {"TipPickupFailedError", "TipPhysicallyMissingError", "tipPhysicallyMissing"}
NO_TIP_CODE = "3003"  # TIP_PICKUP_FAILED


def no_tip(command: Command) -> bool:
    """Whether a pick-up failed since there was no tip in the rack."""
    error = command.error
    return error is not None and (error.error_type in _NO_TIP or error.error_code == NO_TIP_CODE)


def failure(command: Command, *, moved: bool) -> DeviceError:
    """What a failed command means: `moved` says that liquid was moved before it in the same action."""
    error = command.error or CommandError(detail="failed without saying why")
    words = f"{command.command_type} failed: {error.detail or error.error_type} ({error.error_type})"
    if moved:
        return Fault(f"{words}, in mid-transfer: look at pipette and wells", received=error.error_code)
    if error.error_type in _NOTHING_MOVED or no_tip(command):
        return Rejected(words, received=error.error_code)
    return Fault(words, received=error.error_code)


def _accepted(answer: Answer, what: str, *, order: bool = False) -> Any:
    """The body of an answer that says yes; raises what any other means."""
    if answer.status < 300 and isinstance(answer.body, dict):
        return answer.body
    name, words = _refusal(answer)
    text = f"{answer.status} {name or ''} {words}".replace("  ", " ").strip()
    if answer.status == 503:
        raise Unreachable(f"the robot is not ready: {words or 'it is still booting'}", sent=what)
    if name in _GONE or (answer.status == 404 and "/runs/" in what):
        raise RunGone(f"the robot refused: {text}", sent=what)
    if name == "RunAlreadyActive":
        raise RobotBusy(f"someone else's run is under way on the robot: {words}", sent=what)
    if 400 <= answer.status < 500:
        raise Rejected(f"the robot refused: {text}", sent=what)
    if order:
        raise OutcomeUnknown(f"the robot's server failed: {text}", sent=what)
    raise Unreachable(f"the robot's server failed: {text}", sent=what)


def _refusal(answer: Answer) -> tuple[str | None, str]:
    """The name and the words of a refusal."""
    body = answer.body
    if isinstance(body, dict):
        errors = body.get("errors")
        if isinstance(errors, list) and errors:
            details = "; ".join(str(one.get("detail", one)) for one in errors if isinstance(one, dict))
            return (errors[0].get("id") if isinstance(errors[0], dict) else None), details
        return None, str(body.get("message", ""))
    return None, str(body or "")


def _data(body: dict[str, Any]) -> Any:
    """What an answer carries."""
    if "data" not in body:
        raise OutcomeUnknown("an answer of the robot carries no data", received=str(body)[:200])
    return body["data"]


def _checked(kind: type[_M], value: Any) -> _M:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise OutcomeUnknown(f"an answer of the robot is not as expected: {place}: {first['msg']}") from error
