"""What a step orders, and what can come of it."""

from __future__ import annotations

from dataclasses import dataclass

from labd.protocol.messages import FailureKind
from labd.run.reservations import Bound
from labd.sdk import Action, Intent, Parameters, Result


@dataclass(frozen=True, slots=True)
class Order:
    """What a step wants done, with all that is needed to do it. `stale`: why it cannot be given again as it is."""

    run: str
    sample: str
    state: str
    step: str
    bound: Bound
    action: Action
    parameters: Parameters
    within: float | None
    stale: str | None = None

    @property
    def name(self) -> str:
        """As people read it: `press.crimp`."""
        return f"{self.bound}.{self.action.name}"


@dataclass(frozen=True, slots=True)
class Did:
    """Done, with its result. `conflict` says in words what cannot be true of the sample's place after it."""

    result: Result
    conflict: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Not done, and known not to be: `kind` is timeout, rejected, fault or unreachable."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Nobody knows: a person must say. `kind` is unknown, or fault where a ONCE action may have been cut."""

    kind: str
    intent: Intent
    message: str
    result: Result | None = None


Settled = Did | Failed | Unsettled
