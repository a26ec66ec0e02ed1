"""The roles that keep what surrounds a sample, and any other machine: thermostat, glovebox, machine."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from labd.sdk.actions import Call, Effect, OnLoss, Result, action
from labd.sdk.driver import Driver, Signals
from labd.sdk.quantities import Bounds, Fraction, Pressure, Temperature


class ThermostatSignals(Signals):
    temperature: Temperature | None = None
    setpoint: Temperature | None = None


class Thermostat(Driver):
    """Keeps a bath, a chamber or a block at a temperature."""

    role = "thermostat"
    Signals = ThermostatSignals

    # Who dies a moment later leaves the bath on as well: it holds its setpoint, and the run that set it is taken up.
    @action(effect=Effect.STATE, timeout=60, duration=3, on_loss=OnLoss.CONTINUE)
    @abstractmethod
    async def set_temperature(self, call: Call, temperature: Annotated[Temperature, Bounds(min=-273.15)]) -> None:
        """Sets the setpoint and starts. Done when the device has it; wait for the temperature by its signal."""


class GloveboxSignals(Signals):
    """`pressure` is over the room's. `antechamber`: `open` to the room, `closed`, or `moving`."""

    oxygen: Fraction | None = None
    water: Fraction | None = None
    pressure: Pressure | None = None
    antechamber: Literal["open", "closed", "moving"] | None = None


class Glovebox(Driver):
    """Tells what the air in a box is like, and works its antechamber where it can."""

    role = "glovebox"
    Signals = GloveboxSignals

    @action(effect=Effect.STATE, timeout=600, duration=30)
    @abstractmethod
    async def open_antechamber(self, call: Call) -> None:
        """Opens the antechamber to the room. Rejected where the box cannot, or its inner door is open."""

    @action(effect=Effect.STATE, timeout=3600, duration=300)
    @abstractmethod
    async def close_antechamber(self, call: Call) -> None:
        """Closes the antechamber to the room, and purges it where the box does. Rejected where the box cannot."""


PACKML_STATES = (
    *("Undefined", "Clearing", "Stopped", "Starting", "Idle", "Suspended", "Execute", "Stopping", "Aborting"),
    *("Aborted", "Holding", "Held", "Unholding", "Suspending", "Unsuspending", "Resetting", "Completing", "Complete"),
)
"""PackML's states by their numbers, 0 to 17 (ANSI/ISA-TR88.00.02)."""


class MachineSignals(Signals):
    """`state` is PackML's, in its words; `made` and `defective` count since the counters were reset."""

    state: str | None = None
    recipe: str | None = None
    made: int | None = None
    defective: int | None = None


class MachineResult(Result):
    """Where the machine came to, and what it has made since the order."""

    state: str
    made: int | None


class Machine(Driver):
    """Any machine behind a PLC that runs recipes, with PackML's states or such as can be told in its words."""

    role = "machine"
    Signals = MachineSignals

    @action(effect=Effect.ONCE, timeout=3600, duration=None)
    @abstractmethod
    async def start(self, call: Call, recipe: Annotated[str, Field(max_length=200)] = "") -> MachineResult:
        """Runs a recipe to its end; empty: the one that is set. From Idle alone."""

    @action(effect=Effect.STATE, timeout=120, duration=5)
    @abstractmethod
    async def stop(self, call: Call) -> None:
        """Ends in order what it does. Done when it is Stopped."""

    @action(effect=Effect.STATE, timeout=120, duration=10)
    @abstractmethod
    async def reset(self, call: Call) -> None:
        """Brings it from Stopped or Complete to Idle."""
