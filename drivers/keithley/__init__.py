"""Keithley 2450 and 2461 SourceMeters, over their SCPI socket or VISA."""

from drivers.keithley.driver import Keithley

DRIVER = Keithley

__all__ = ["DRIVER", "Keithley"]
