"""Every test runs on virtual time: no sleeps, no waiting, no false time-out, and no test that a slow machine fails."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import structlog

from labd.clock import LabLoop, VirtualTimeline

hypothesis.settings.register_profile("labd", deadline=None)  # nothing asserts a speed
hypothesis.settings.load_profile("labd")


def pytest_collection_finish() -> None:
    """What the tests consist of stays to the end: it is not looked through again with each collection of garbage."""
    gc.collect()
    gc.freeze()


def virtual_loop() -> LabLoop:
    return LabLoop(VirtualTimeline())


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": virtual_loop}


@pytest.fixture
def real_time() -> tuple[str, dict[str, Any]]:
    """For `anyio_backend` overrides of tests whose peer is another process."""
    return "asyncio", {"loop_factory": LabLoop}


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """What a test makes of the process's log ends with it: the next one has another stderr."""
    yield
    structlog.reset_defaults()
