"""Dobot MG400, a four-axis desktop arm, over TCP."""

from drivers.mg400.driver import Mg400

DRIVER = Mg400

__all__ = ["DRIVER", "Mg400"]
