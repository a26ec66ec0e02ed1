"""Results as data: records of runs, exports, tables, plots, and where a sample comes from.

Heavy libraries are imported where they are used.
"""

from labd.records.export import ExportError, export
from labd.records.record import run_record
from labd.records.results import CellRow, Profile, cell_rows, profiles
from labd.records.tracing import summaries, traced

__all__ = ["CellRow", "ExportError", "Profile", "cell_rows", "export", "profiles", "run_record", "summaries", "traced"]
