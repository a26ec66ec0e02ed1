"""Neware cyclers behind a BTS 8 server, over TCP."""

from drivers.neware.driver import Neware

DRIVER = Neware

__all__ = ["DRIVER", "Neware"]
