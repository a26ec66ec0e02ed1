"""Any protocol that passes its check comes to an end, whatever happens to it, and keeps what it promises on the way."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labd.files.library import Library
from labd.protocol import check, compiled, load
from tests.protocol.callees import CALLEES
from tests.protocol.fake import Fake
from tests.protocol.strategies import made, protocols

LIBRARY = Library(CALLEES)


def _walk(text: str, seed: int, runs: int) -> None:
    protocol = load(text, "made.yaml", LIBRARY)
    problems = [problem.render() for problem in check(protocol) if problem.severity == "error"]
    assert not problems, "\n".join(problems)
    program = compiled(protocol)
    for run in range(runs):
        Fake(protocol, program, random.Random(seed + run)).run()


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(protocols, st.integers(0, 2**32))
def test_it_holds_and_comes_to_an_end(text: str, seed: int) -> None:
    _walk(text, seed, runs=3)


@pytest.mark.parametrize("seed", range(30))
def test_the_same_for_larger_ones(seed: int) -> None:
    _walk(made(seed, size=6), seed, runs=4)
