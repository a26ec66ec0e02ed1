"""The roles that handle what others bring: pump, gripper."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

from labd.sdk.actions import Call, Effect, Result, action
from labd.sdk.driver import Driver, Signals
from labd.sdk.quantities import Bounds, FlowRate, Force, Length, Volume

Pumped = Annotated[Volume, Bounds(min=0.001)]
Rate = Annotated[FlowRate, Bounds(min=0.001)]


class PumpSignals(Signals):
    """`position` is what the syringe holds."""

    position: Volume | None = None
    busy: bool | None = None


class PumpResult(Result):
    """What the plunger has really moved."""

    volume: Volume


class Pump(Driver):
    """A syringe pump: draws in from its inlet, gives to its outlet."""

    role = "pump"
    Signals = PumpSignals

    @action(effect=Effect.ONCE, timeout=600, duration=15)
    @abstractmethod
    async def aspirate(self, call: Call, volume: Pumped, rate: Rate | None = None) -> PumpResult:
        """Draws a volume in from the inlet, at the rate that is set unless one is given."""

    @action(effect=Effect.ONCE, timeout=600, duration=15)
    @abstractmethod
    async def dispense(self, call: Call, volume: Pumped, rate: Rate | None = None) -> PumpResult:
        """Gives a volume to the outlet: of what the syringe holds, and drawn in from the inlet where that is less."""

    @action(effect=Effect.ONCE, timeout=600, duration=30)
    @abstractmethod
    async def prime(self, call: Call, volume: Pumped | None = None, rate: Rate | None = None) -> PumpResult:
        """Fills its lines: from the inlet to the outlet, one full stroke unless a volume is given."""


class GripperSignals(Signals):
    gripped: bool | None = None
    moving: bool | None = None
    width: Length | None = None


class GripResult(Result):
    """Whether something is between the fingers, and how wide they stand."""

    gripped: bool
    width: Length | None


class Gripper(Driver):
    """Fingers by themselves, at an arm that knows nothing of them or at a fixed place."""

    role = "gripper"
    Signals = GripperSignals

    @action(effect=Effect.ONCE, timeout=15, duration=2)
    @abstractmethod
    async def grip(self, call: Call, force: Annotated[Force, Bounds(min=0.001, max=1.0)] | None = None) -> GripResult:
        """Closes until something is held. Nothing held is a result, `gripped: false`, not an error."""

    @action(effect=Effect.STATE, timeout=15, duration=2)
    @abstractmethod
    async def release(self, call: Call, width: Annotated[Length, Bounds(min=0, max=500)] | None = None) -> None:
        """Opens: all the way, or to a width."""
