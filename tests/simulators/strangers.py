"""Other people's clients of instruments, with blocking calls: they live in a process of their own."""

from __future__ import annotations

from typing import Any


class Smu:
    """A 2450 by pymeasure."""

    def __init__(self, resource: str) -> None:
        from pymeasure.instruments.keithley.keithley2450 import Keithley2450

        self.smu: Any = Keithley2450(resource, visa_library="@py", read_termination="\n", write_termination="\n")

    def identity(self) -> str:
        return str(self.smu.id)

    def charge(self, volts: float, amps: float) -> tuple[float, float]:
        """Sources a voltage with a limit; gives what is measured."""
        smu = self.smu
        smu.reset()
        smu.apply_voltage(20, amps)
        smu.source_voltage = volts
        smu.measure_current(1, 0.01, auto_range=True)
        smu.enable_source()
        current = float(smu.current)
        smu.measure_voltage(1, 20, auto_range=True)
        return float(smu.voltage), current

    def off(self) -> None:
        self.smu.disable_source()

    def errors(self) -> list[Any]:
        return [entry for entry in self.smu.check_errors() or [] if entry[0] != 0]

    def close(self) -> None:
        self.smu.adapter.close()
