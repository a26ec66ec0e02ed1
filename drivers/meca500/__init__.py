"""Mecademic Meca500, a six-axis arm with an electric gripper, over TCP."""

from drivers.meca500.driver import Meca500

DRIVER = Meca500

__all__ = ["DRIVER", "Meca500"]
