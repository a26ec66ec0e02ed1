"""The daemon's starts, as the journal tells them: how many of the last ones died young, one after the other.

A start stands once it was ended in order, or lived for a minute. Lives are counted and not clock times: a machine
without a battery for its clock begins each of its lives at the same wrong hour. Starts that die before they could be
journaled (a journal that does not open, a lab.yaml that does not hold) do not count.
"""

from __future__ import annotations

from collections.abc import Iterable

from labd.journal import Event

STARTS = frozenset(
    {"daemon.started", "daemon.safe_mode", "daemon.steady", "daemon.resumed", "daemon.stopped", "daemon.failed"}
)
"""The kinds of events that the fold below reads."""

STEADY = 60.0  # s of the machine; a start that lives so long after it is online stands
DEATHS = 3
"""So many starts in a row that died, and the next one resumes nothing."""


def died(events: Iterable[Event]) -> tuple[str, ...]:
    """When the last starts were made that all died young, the oldest first; empty when the last one stood.

    Once one was in safe mode, only a person ends that (`daemon.resumed`): a restart, however orderly, sets nothing
    moving again. And what is resumed has to live for a minute: it may be what kills labd.
    """
    dead: tuple[str, ...] = ()
    safe = False
    for event in events:
        match event.kind:
            case "daemon.started":
                dead = (*dead, event.at)
            case "daemon.safe_mode":
                safe = True
            case "daemon.resumed":
                safe = False
            case "daemon.steady" | "daemon.stopped" if not safe:
                dead = ()
    return dead
