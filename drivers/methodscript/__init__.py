"""PalmSens potentiostats that run MethodSCRIPT (EmStat4, Nexus, EmStat Pico), over a serial port."""

from drivers.methodscript.driver import MethodScript

DRIVER = MethodScript

__all__ = ["DRIVER", "MethodScript"]
