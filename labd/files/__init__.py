"""Files that people write: YAML to plain trees with positions, and what is wrong with them, where, and the mend."""

from labd.files.problems import CODES, InputErrors, Problem, in_order
from labd.files.reader import Reader, decode, read_file
from labd.files.source import Path, Source, Span

__all__ = ["CODES", "InputErrors", "Path", "Problem", "Reader", "Source", "Span", "decode", "in_order", "read_file"]
