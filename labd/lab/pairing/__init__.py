"""Electrodes that were weighed before they become cells: read from tables, and paired to a target N:P ratio."""

from labd.lab.pairing.assign import Pair, Pairing, PairingError, pair
from labd.lab.pairing.electrodes import Electrode, read_electrodes
from labd.lab.pairing.table import rows_of, write_rows

__all__ = ["Electrode", "Pair", "Pairing", "PairingError", "pair", "read_electrodes", "rows_of", "write_rows"]
