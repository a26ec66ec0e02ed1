"""Mettler Toledo balances by MT-SICS, over serial or TCP."""

from drivers.mettler.driver import Mettler

DRIVER = Mettler

__all__ = ["DRIVER", "Mettler"]
