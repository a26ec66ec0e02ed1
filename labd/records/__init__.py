"""Results as data: records of runs, exports, tables, plots, and where a sample comes from.

Heavy libraries are imported where they are used.
"""

from labd.records.analyst import Analyst
from labd.records.errors import ExportError
from labd.records.export import export
from labd.records.figures import Figure, Figures, figures
from labd.records.outcome import outcome
from labd.records.record import run_record
from labd.records.results import CellRow, Profile, cell_rows, profiles
from labd.records.tracing import summaries, traced

__all__ = [
    "Analyst",
    "CellRow",
    "ExportError",
    "Figure",
    "Figures",
    "Profile",
    "cell_rows",
    "export",
    "figures",
    "outcome",
    "profiles",
    "run_record",
    "summaries",
    "traced",
]
