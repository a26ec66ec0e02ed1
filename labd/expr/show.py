"""Values as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from labd.expr.types import ListOf, Measure, Type
from labd.sdk import units


def show(value: object, kind: Type) -> str:
    """A value of a type: `7.31 kN`, `3`, `yes`, `[1 V, 2 V]`; None is `no value`."""
    if value is None:
        return "no value"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return units.plain(value, kind.dimension.unit) if isinstance(kind, Measure) else f"{value:.6g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        item = kind.item if isinstance(kind, ListOf) else kind
        shown = [show(part, item) for part in value[:20]]
        return f"[{', '.join(shown)}{', …' if len(value) > 20 else ''}]"
    return str(value)
