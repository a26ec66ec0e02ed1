"""Settings of a Neware cycler, and what one look at a channel tells."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from drivers.neware.wire import PORT, Look
from labd.io.tcp import host_and_port
from labd.sdk import Bounds, Current, Settings, Voltage
from labd.sdk.roles import PotentiostatSignals


class NewareSettings(Settings):
    """Settings of a Neware cycler in lab.yaml.

    `address` is the BTS server's interface, `channels` those of its channels that are this lab's, as
    `device-subdevice-channel` (`21-1-1`). `directory` is a folder that both reach, and `directory_there` what the
    server's PC calls it (left out: the same). `min_voltage`, `max_voltage` and `max_current` are what the cells bear:
    nothing is ordered beyond them, and the cycler itself ends a test that leaves them by more than `margin`.
    `backup` is where the server keeps its own copies of the data; `user` is that of its interface,
    and `password_file` holds the password; left out, it is the factory's.
    """

    address: str
    channels: Annotated[list[Annotated[str, Field(pattern=r"^\d+-\d+-\d+$")]], Field(min_length=1)]
    directory: str
    directory_there: str | None = None
    min_voltage: Voltage = 0.0
    max_voltage: Voltage = 5.0
    max_current: Annotated[Current, Bounds(min=1e-9)]
    margin: Annotated[Voltage, Bounds(min=0, max=0.5)] = 0.02
    user: str = "admin"
    password_file: str | None = None
    backup: str = "C:\\Neware data"

    @field_validator("address")
    @classmethod
    def _readable(cls, value: str) -> str:
        host_and_port(value.removeprefix("tcp://"), PORT)
        return value

    @model_validator(mode="after")
    def _ordered(self) -> NewareSettings:
        if not self.min_voltage < self.max_voltage:
            raise ValueError(f"min_voltage, {self.min_voltage:g} V, must be below max_voltage, {self.max_voltage:g} V")
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("channels: one stands twice")
        return self


class NewareSignals(PotentiostatSignals):
    """Beside the role's: the channel's `state`, the `cycle` and kind of `step` of its test, and its `barcode`."""

    state: str | None = None
    cycle: int | None = None
    step: str | None = None
    barcode: str | None = None

    @classmethod
    def of(cls, look: Look) -> NewareSignals:
        """What a look told."""
        return cls(
            voltage=look.voltage,
            current=look.current if look.busy else 0.0,
            state=look.state or None,
            cycle=look.cycle if look.busy else None,
            step=look.step if look.busy else None,
            barcode=look.barcode or None,
        )
