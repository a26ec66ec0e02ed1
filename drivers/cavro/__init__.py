"""Tecan Cavro XCalibur and XLP 6000 syringe pumps by the DT protocol, several on one serial line."""

from drivers.cavro.driver import Cavro

DRIVER = Cavro

__all__ = ["DRIVER", "Cavro"]
