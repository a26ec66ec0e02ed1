"""What stands within some payloads, for the contract's documents. The daemon sends it as it has it, without a look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from labd.telemetry import payloads
from labd.telemetry.payloads import Id, Payload


class Action(Payload):
    """An action of a device. `parameters`, `result` and `data` (rows while it runs) are JSON Schemas.

    `effect`: `read` changes nothing, `state` reaches a named state, `once` spends or alters a sample. `on_loss`: what
    it does when the daemon is gone.
    """

    summary: str
    effect: Literal["read", "state", "once"]
    on_loss: Literal["stop", "continue"]
    parameters: Mapping[str, Any]
    result: Mapping[str, Any]
    data: Mapping[str, Any] | None


class About(payloads.About):
    __doc__ = payloads.About.__doc__

    actions: Mapping[str, Action]


class RunResult(Payload):
    """Of start (`run` alone), of answer, unhold and clear (with its state), of hold, stop and abort (with both)."""

    run: Id
    state: str | None = None
    outcome: str | None = None


class LabResult(Payload):
    """Of hold, stop and abort of all: the runs that took it, and by device what went wrong with making it safe."""

    runs: tuple[Id, ...]
    safe: Mapping[str, str | None]


class BatchResult(Payload):
    """Of submit."""

    batch: Id
    jobs: tuple[Id, ...]


class CancelResult(Payload):
    """Of cancel: the jobs."""

    cancelled: tuple[Id, ...]


class InterlockResult(Payload):
    """Of clear, of an interlock."""

    interlock: str


class AlarmResult(Payload):
    """Of acknowledge."""

    alarm: str


class ProposeResult(Payload):
    """Of propose: the proposals that were made of it."""

    campaign: Id
    proposals: tuple[Id, ...]


Result = RunResult | LabResult | BatchResult | CancelResult | InterlockResult | AlarmResult | ProposeResult


class Reply(payloads.Reply):
    __doc__ = payloads.Reply.__doc__

    result: Result | None = None  # type: ignore[assignment]


RESULTS = get_args(Result)
