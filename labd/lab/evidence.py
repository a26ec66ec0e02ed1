"""What tells of a device's actions beside its word: its signals before and after, and what else lab.yaml names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog
from pydantic import JsonValue

from labd.lab.bounded import Hangs
from labd.sdk import Action, DeviceError, Driver, OutcomeUnknown, Parameters, Reading, Result, Seen, Signals

_T = TypeVar("_T")

log = structlog.get_logger(__name__)

BASELINE = "evidence"
"""Under this key of an intent's baseline stands what was seen before: so it is there after a restart as well."""
BEFORE_LIMIT = 60.0  # s; a balance must come to rest within it
LOOK_LIMIT = 20.0  # s
LOOKS = (0.0, 1.0, 3.0)  # s; waits before signals that could not be read after an action are read once more
_SIGNALS = "signals"


class NoEvidence(OutcomeUnknown):
    """The device says that it was done, and what must show it does not: a person must look. Not asked of the device.

    Args:
        message: what speaks against it.
        result: what the device gave.
    """

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class Proof(Protocol):
    """Something beside a device that shows what an action of it did."""

    @property
    def name(self) -> str:
        """As lab.yaml has it."""

    async def before(self, parameters: Parameters) -> JsonValue:
        """What is so before the order; None when it has no word on this one. Raises DeviceError: not to be told."""

    async def against(self, parameters: Parameters, before: JsonValue) -> str | None:
        """What speaks against the action once the device calls it done, or None. Raises DeviceError: not to be told."""


class Ask(Protocol):
    """Awaits work of a driver with a deadline, s (None: none of its own). Raises TimeoutError."""

    def __call__(self, what: str, work: Awaitable[_T], limit: float | None) -> Coroutine[Any, Any, _T]: ...


@dataclass(slots=True)
class Witnesses:
    """Of one device.

    Args:
        driver: its driver.
        ask: has the driver do something within so many s; one that hangs in it takes its own device down.
        proofs: by action; each has its own name.
    """

    driver: Driver
    ask: Ask
    proofs: dict[str, list[Proof]] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self) -> Reading:
        """One poll; polls of a device come one after the other."""
        async with self._reading:
            return await self.ask("read_state", self.driver.read_state(), LOOK_LIMIT)

    async def signal(self, unit: str, name: str) -> Any:
        """A signal as it is now, read for this; None where the device cannot tell."""
        try:
            return getattr(self._of(unit, await self.read()), name, None)
        except (DeviceError, TimeoutError):
            return None

    async def before(self, action: Action, unit: str, parameters: Parameters) -> dict[str, JsonValue]:
        """What belongs into the intent's baseline; empty when nothing is to be proven. Raises DeviceError."""
        seen: dict[str, JsonValue] = {}
        if action.evidence is not None:
            seen[_SIGNALS] = self._of(unit, await self.read()).model_dump(mode="json")
        for proof in self.proofs.get(action.name, ()):
            found = await proof.before(parameters)
            if found is not None:
                seen[proof.name] = found
        return {BASELINE: seen} if seen else {}

    async def prove(
        self, action: Action, unit: str, parameters: Parameters, baseline: Mapping[str, Any], result: Result
    ) -> None:
        """Looks whether what was called done shows. Raises NoEvidence where it does not, or where nobody can look."""
        if action.evidence is None and action.name not in self.proofs:
            return
        kept = baseline.get(BASELINE) or {}
        against = [await self._by_signals(action, unit, parameters, kept.get(_SIGNALS) or {}, result)]
        against += [
            await self._by(proof, parameters, kept[proof.name])
            for proof in self.proofs.get(action.name, ())
            if proof.name in kept
        ]
        told = [words for words in against if words is not None]
        if told:
            raise NoEvidence(f"no evidence, though the device calls it done: {'; '.join(told)}", result)

    async def _by_signals(
        self, action: Action, unit: str, parameters: Parameters, before: Mapping[str, Any], result: Result
    ) -> str | None:
        if action.evidence is None:
            return None
        try:
            after = await self._look(unit)
        except DeviceError as error:
            return f"its signals could not be read after it: {error.message}"
        kind = type(after)
        was = kind.model_construct(**{name: before.get(name) for name in kind.model_fields})
        try:
            return action.evidence(Seen(was, after, parameters, result))
        except Exception as error:
            log.exception("evidence failed", action=action.name)
            return f"its evidence could not be judged: {error!r}"

    async def _by(self, proof: Proof, parameters: Parameters, before: JsonValue) -> str | None:
        try:
            found = await proof.against(parameters, before)
        except DeviceError as error:
            return f"{proof.name} could not be told: {error.message}"
        return None if found is None else f"{proof.name}: {found}"

    async def _look(self, unit: str) -> Signals:
        problem = OutcomeUnknown("it was not read")
        for wait in LOOKS:
            await asyncio.sleep(wait)
            try:
                return self._of(unit, await self.read())
            except Hangs as error:  # no second conversation beside it
                raise OutcomeUnknown(str(error)) from None
            except TimeoutError:
                problem = OutcomeUnknown(f"no reading within {LOOK_LIMIT:g} s")
            except DeviceError as error:
                problem = OutcomeUnknown(error.message)
        raise problem

    @staticmethod
    def _of(unit: str, reading: Reading) -> Signals:
        return reading if isinstance(reading, Signals) else reading[unit]
