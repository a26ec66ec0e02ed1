"""`labd new driver`: the files of a new driver, which work at once as a toy device."""

from labd.scaffold.writing import LINKS, ScaffoldError, Written, new_driver

__all__ = ["LINKS", "ScaffoldError", "Written", "new_driver"]
