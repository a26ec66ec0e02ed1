"""What happens in a lab, told to whoever listens: telemetry, the progress display, interlocks.

The bus is a plain synchronous call: what is told here is already durable, or is a signal that need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Health = Literal["ok", "degraded", "down"]
Quality = Literal["good", "stale", "bad"]


@dataclass(frozen=True, slots=True)
class Value:
    """A signal's value with unit (empty for none) and quality; None is a value that could not be told."""

    v: float | int | bool | str | None
    u: str
    q: Quality


@dataclass(frozen=True, slots=True)
class DeviceAbout:
    """What a device is: driver, role, actions with their schemas, signals with units, firmware.

    `types` are JSON Schema's words for the signals' values; `poll` is the longest time between two polls, s.
    `quality` is the driver's grade, `quirks` what a user of such a device must know.
    """

    device: str
    driver: str
    role: str
    model: str
    serial: str
    firmware: str
    units: tuple[str, ...]
    actions: Mapping[str, Any]
    signals: Mapping[str, str]
    types: Mapping[str, str] = field(default_factory=dict)
    poll: float | None = None
    quality: str = ""
    quirks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceState:
    """Health of a device: `problem` in words, `since` RFC 3339, `busy_with` the runs that it works for."""

    device: str
    health: Health
    problem: str | None
    since: str
    busy_with: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignalsRead:
    """One poll. Names are `voltage`, or `3.voltage` for a device of several units; `at` is when it was read."""

    device: str
    seq: int
    at: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run is. `state` is PackML's; `protocol_state` the machine's; `progress` from 0 to 1."""

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
    question: Mapping[str, Any] | None
    started: str | None = None
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should know; the same id with `ended` clears it."""

    id: str
    severity: Literal["warning", "problem", "critical"]
    about: str
    text: str
    since: str
    acknowledged_by: str | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job of the queue. `state` is ISA-95's; `why` says in words why it waits or is held."""

    job: str
    batch: str
    state: str
    protocol: str
    sample: str
    priority: int
    run: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class QueueState:
    """The jobs that have not ended, in the order of their turn; `more` were left out. `paused` says why none starts."""

    jobs: tuple[QueuedJob, ...]
    more: int
    paused: str | None


@dataclass(frozen=True, slots=True)
class CampaignState:
    """Where a campaign is. `experiments` counts proposals by what became of them; `best` is the best one so far.

    `budget` says of each thing that is bounded how much is used and how much there is, with its unit.
    """

    campaign: str
    name: str
    version: str
    state: str
    why: str | None
    by: str
    since: str
    started: str
    optimiser: str
    rounds: int
    experiments: Mapping[str, int]
    best: Mapping[str, Any] | None
    budget: Mapping[str, Mapping[str, Any]]
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class CampaignAsk:
    """What a campaign asks of an optimiser outside: so many points, with all that it needs; `ask` 0: nothing now."""

    campaign: str
    ask: int
    count: int
    problem: Mapping[str, Any]
    told: tuple[Mapping[str, Any], ...]
    pending: tuple[Mapping[str, float | str], ...]


Happening = DeviceAbout | DeviceState | SignalsRead | RunState | Alarm | QueueState | CampaignState | CampaignAsk
Listener = Callable[[Happening], None]


@dataclass(slots=True)
class Bus:
    """Tells listeners in the order of their subscription. A listener must not block and must not raise."""

    _listeners: list[tuple[Listener, tuple[type, ...]]] = field(default_factory=list)
    _by_kind: dict[type, tuple[Listener, ...]] = field(default_factory=dict)  # worked out when first told

    def subscribe(self, listener: Listener, *kinds: type[Happening]) -> Callable[[], None]:
        """Adds a listener of these kinds, or of all; call what is returned to take it away.

        A lab of many devices tells thousands of things a second: who names what it wants is not called for the rest.
        """
        entry = (listener, kinds)
        self._listeners.append(entry)
        self._by_kind.clear()

        def forget() -> None:
            self._listeners.remove(entry)
            self._by_kind.clear()

        return forget

    def tell(self, happening: Happening) -> None:
        kind = type(happening)
        told = self._by_kind.get(kind)
        if told is None:
            told = tuple(listener for listener, kinds in self._listeners if not kinds or kind in kinds)
            self._by_kind[kind] = told
        for listener in told:
            listener(happening)
