"""Results as data: the record of a run, exports, tables and plots. Heavy libraries are imported where they are used."""

from labd.records.export import ExportError, export
from labd.records.record import run_record
from labd.records.results import CellRow, Profile, cell_rows, profiles

__all__ = ["CellRow", "ExportError", "Profile", "cell_rows", "export", "profiles", "run_record"]
