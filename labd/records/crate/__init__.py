"""Research objects: a run, a batch or a campaign as an RO-Crate 1.2, its check, and its reading back.

Source: RO-Crate Metadata Specification 1.2, https://w3id.org/ro/crate/1.2
"""

from labd.records.crate.checking import Flaw, check
from labd.records.crate.contents import Contents, Produced
from labd.records.crate.reading import page_of
from labd.records.crate.writing import write
from labd.records.errors import CrateError

__all__ = ["Contents", "CrateError", "Flaw", "Produced", "check", "page_of", "write"]
