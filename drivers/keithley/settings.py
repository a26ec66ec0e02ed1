"""Settings of a SourceMeter in lab.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import field_validator, model_validator

from drivers.keithley.meter import MODELS, ModelName
from drivers.keithley.wire import Address
from labd.sdk import Bounds, Current, Settings, Voltage


class KeithleySettings(Settings):
    """Settings of a SourceMeter in lab.yaml.

    `address` is its socket (`tcp://10.0.0.9:5025`, `TCPIP0::10.0.0.9::5025::SOCKET`) or, by pyvisa, any VISA resource
    (`visa://USB0::0x05E6::0x2450::04451117::INSTR`; `visa_library` names the library). `min_voltage`, `max_voltage` and
    `max_current` are what the cell bears: nothing beyond them is ever sourced. `model` is what it is, `four_wire`
    whether the sense leads are at the cell, and `terminals` where the cell is connected, `front` or `rear`.
    """

    address: str
    model: ModelName = "2450"
    min_voltage: Voltage = 0.0
    max_voltage: Voltage = 5.0
    max_current: Annotated[Current, Bounds(min=1e-8)]
    four_wire: bool = True
    terminals: Literal["front", "rear"] = "front"
    visa_library: str = "@py"

    @field_validator("address")
    @classmethod
    def _readable(cls, value: str) -> str:
        Address.parse(value)
        return value

    @model_validator(mode="after")
    def _within_reach(self) -> KeithleySettings:
        model = MODELS[self.model]
        if not self.min_voltage < self.max_voltage:
            raise ValueError(f"min_voltage, {self.min_voltage:g} V, must be below max_voltage, {self.max_voltage:g} V")
        if max(abs(self.min_voltage), abs(self.max_voltage)) > model.voltage:
            raise ValueError(f"a cell of more than {model.voltage:g} V is none for labd on a {self.model}")
        if self.max_current > model.current:
            raise ValueError(f"max_current: a {self.model} sources {model.current:g} A at most")
        return self
