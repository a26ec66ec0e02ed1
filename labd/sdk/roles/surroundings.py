"""The roles that keep what surrounds a sample: thermostat."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

from labd.sdk.actions import Call, Effect, OnLoss, action
from labd.sdk.driver import Driver, Signals
from labd.sdk.quantities import Bounds, Temperature


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
