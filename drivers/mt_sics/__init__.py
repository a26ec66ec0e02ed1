"""Mettler Toledo balances by MT-SICS, over serial or TCP."""

from drivers.mt_sics.driver import MtSics

DRIVER = MtSics

__all__ = ["DRIVER", "MtSics"]
