"""How many of the last starts died young, as the journal tells them."""

from __future__ import annotations

import pytest

from labd.journal import Event
from labd.run.starts import died


def events(told: str) -> list[Event]:
    kinds = {"+": "started", "m": "safe_mode", "s": "steady", "r": "resumed", ".": "stopped", "x": "failed"}
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
        ("+++s+m", 1),  # as long as a person has not ended it
        ("++++m", 4),
        ("++++ms", 4),  # safe mode has stood for a minute: that ends nothing
        ("++++m.", 4),  # nor does an end in order
        ("++++m.+ms.+", 6),
        ("++++mr", 4),  # what was taken up may be what kills it
        ("++++msr", 4),
        ("++++msr+", 5),
        ("++++mrs", 0),
        ("++++mrs+", 1),
        ("++++msr.", 0),
    ],
)
def test_deaths_in_a_row_are_counted_from_the_last_start_that_stood(told: str, dead: int) -> None:
    assert len(died(events(told))) == dead


def test_it_tells_when_the_starts_were_made() -> None:
    assert died(events("+.++x+")) == ("t2", "t3", "t5")
