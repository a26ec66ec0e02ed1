"""A file of faults for `labd-sim`: errors with file, line and column. `labd` reads it as carefully as its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from simulators.faults.check import FaultsError, Flaw, Kind, check
from simulators.faults.model import Faults


class BadFaultsError(Exception):
    """A file of faults that cannot be read or does not hold: a line for each flaw."""


def read_faults(path: Path, kinds: Mapping[str, Kind]) -> Faults:
    """A file of faults for a lab's devices. Raises BadFaultsError with all that does not hold."""
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFaultsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadFaultsError(f"{path}: is not UTF-8 text") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise BadFaultsError(f"{where}: {error.problem}") from error
    try:
        return check(_plain(tree), kinds)
    except FaultsError as error:
        placed = sorted((*_place(tree, flaw), f"{flaw.code} {flaw.message}{_mend(flaw)}") for flaw in error.flaws)
        raise BadFaultsError("\n".join(f"{path}:{line}:{column}: {told}" for line, column, told in placed)) from None


def _mend(flaw: Flaw) -> str:
    return f"\n      → {flaw.mend}" if flaw.mend else ""


def _place(tree: Any, flaw: Flaw) -> tuple[int, int]:
    """Line and column of what a flaw is about, or of the nearest that has a place."""
    line, column = 0, 0
    for part in flaw.path:
        if not hasattr(tree, "lc"):
            break
        try:
            on_key = flaw.key and part == flaw.path[-1]
            if isinstance(part, int):
                line, column = tree.lc.item(part)
            else:
                line, column = tree.lc.key(part) if on_key else tree.lc.value(part)
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            break
    return line + 1, column + 1


def _plain(tree: Any) -> Any:
    """Without what the round trip adds to each value."""
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(value) for value in tree]
    if isinstance(tree, bool) or tree is None:
        return tree
    for kind in (int, float, str):
        if isinstance(tree, kind):
            return kind(tree)
    return str(tree)
