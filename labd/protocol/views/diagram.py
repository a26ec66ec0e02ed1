"""A protocol as a Mermaid state diagram, for pages that render it (GitHub, GitLab, most wikis)."""

from __future__ import annotations

from collections.abc import Iterator

from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.views.chart import Arrow, Box, chart

_LONGEST = 70
_ENTITIES = str.maketrans({"#": "#35;", ";": "#59;", ":": "#58;", "<": "#lt;", ">": "#gt;", '"': "#quot;"})
_CLASSES = {
    "complete": "fill:#d9f2df,stroke:#2f855a",
    "scrapped": "fill:#fde3d3,stroke:#c05621",
    "stopped": "fill:#e8e8ec,stroke:#667",
    "aborted": "fill:#fbd5d5,stroke:#b02a2a",
    "held": "fill:#fff3c4,stroke:#b7791f",
}


def mermaid(protocol: Protocol, facts: LabFacts | None = None) -> str:
    """A Mermaid state diagram, with each state's roles. Raises InputErrors for a protocol that fails its check."""
    drawn = chart(protocol, facts)
    lines = ["stateDiagram-v2", f"    [*] --> {_id(drawn.start)}"]
    for box in drawn.boxes:
        lines.append(f"    {_id(box.name)} : {_label(box)}")
        if box.end is not None:
            lines.append(f"    {_id(box.name)} --> [*]")
        lines += [_arrow(arrow) for arrow in drawn.arrows if arrow.source == box.name]
    for span in drawn.spans:
        lines += [f"    note right of {_id(span.begin)}", f"        window: {_clean(span.text)}", "    end note"]
    if drawn.cleanup:
        steps = "; ".join(line.strip() for line in drawn.cleanup)
        lines += [f"    note left of {_id(drawn.start)}", f"        on stop, abort, scrap: {_clean(steps)}"]
        lines += ["    end note"]
    lines += _colours(drawn.boxes)
    return "\n".join(lines) + "\n"


def _colours(boxes: tuple[Box, ...]) -> Iterator[str]:
    by_class: dict[str, list[str]] = {}
    for box in boxes:
        kind = "held" if box.hold else box.end
        if kind is not None:
            by_class.setdefault(kind, []).append(_id(box.name))
    for name, members in by_class.items():
        yield f"    classDef {name} {_CLASSES[name]}"
        yield f"    class {','.join(members)} {name}"


def _label(box: Box) -> str:
    if box.end is not None:
        return f"{box.name} ({box.end})"
    parts = [f"hold: {box.summary}" if box.summary else "hold"] if box.hold else [box.name]
    if box.roles:
        parts[0] += f" ({', '.join(box.roles)})"
    branches = tuple(line for line in box.lines if "∥" in line or "call " in line or box.hold)
    parts += [part for part in (*branches, box.limit) if part]
    return "<br/>".join(_clean(part) for part in parts)


def _arrow(arrow: Arrow) -> str:
    text = _clean(" or ".join(arrow.labels))
    return f"    {_id(arrow.source)} --> {_id(arrow.target)}" + (f" : {text}" if text else "")


_WORDS = {"state", "end", "note", "class", "classdef", "direction", "default", "style", "as", "click", "root"}


def _id(name: str) -> str:
    """A state's name where it is none of Mermaid's own words."""
    return f"{name}_" if name.casefold() in _WORDS else name


def _clean(text: str) -> str:
    """A text without the signs that Mermaid takes for its own; long ones are cut."""
    shown = " ".join(text.split())
    shown = shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
    return shown.translate(_ENTITIES)
