"""The durable record: events, readers' marks, and the store of signals. Knows no devices and no runs."""

from labd.journal.ballast import Ballast
from labd.journal.events import Event, JournalError, NewEvent
from labd.journal.journal import Journal
from labd.journal.samples import Analysis, SeriesInfo, SignalError
from labd.journal.signals import SignalStore

__all__ = [
    "Analysis",
    "Ballast",
    "Event",
    "Journal",
    "JournalError",
    "NewEvent",
    "SeriesInfo",
    "SignalError",
    "SignalStore",
]
