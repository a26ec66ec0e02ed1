"""The deck, labware and inventory of one lab as live, durable state: what is where, who took it, what is left."""

from labd.lab.inventory.inventory import Inventory
from labd.lab.inventory.needs import Needs
from labd.lab.inventory.shelf import StockError, UnknownPlaceError
from labd.lab.inventory.shortage import Shortage
from labd.lab.inventory.stock import ENTRIES, READ, Stock, stock_of
from labd.lab.inventory.using import Deed

__all__ = [
    "ENTRIES",
    "READ",
    "Deed",
    "Inventory",
    "Needs",
    "Shortage",
    "Stock",
    "StockError",
    "UnknownPlaceError",
    "stock_of",
]
