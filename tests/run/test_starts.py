"""How many of the last starts died young, as the journal tells them."""

from __future__ import annotations

import pytest

from labd.journal import Event
from labd.run.starts import died


def events(told: str) -> list[Event]:
    kinds = {"+": "started", "s": "steady", "r": "resumed", ".": "stopped", "x": "failed"}
    return [Event(n, f"t{n}", None, f"daemon.{kinds[sign]}", {}, "") for n, sign in enumerate(told)]


@pytest.mark.parametrize(
    ("told", "dead"),
    [
        ("", 0),
        ("+", 1),
        ("+.", 0),
        ("+++", 3),
        ("+x+x+x", 3),  # an error that nobody handles is a death too, although it is journaled
        ("++.+", 1),  # one that was ended in order stands between
        ("+++s", 0),
        ("+++s+", 1),
        ("+s+s+s", 0),
        ("+++++", 5),  # safe mode itself dies: the next start is in safe mode too
        ("++++s", 0),  # safe mode stood for a minute
        ("++++r", 4),  # what was taken up may be what kills it
        ("++++sr", 4),
        ("++++sr+", 5),
        ("++++srs", 0),
        ("++++srs+", 1),
        ("++++sr.", 0),
    ],
)
def test_deaths_in_a_row_are_counted_from_the_last_start_that_stood(told: str, dead: int) -> None:
    assert len(died(events(told))) == dead


def test_it_tells_when_the_starts_were_made() -> None:
    assert died(events("+.++x+")) == ("t2", "t3", "t5")
