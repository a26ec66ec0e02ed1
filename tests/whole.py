"""What `make soak` tries in full and the tests of every change in part."""

from __future__ import annotations

import os

WHOLE = os.environ.get("LABD_SOAK") == "whole"


def some(in_part: int, whole: int) -> int:
    """How much of something this run of the tests tries."""
    return whole if WHOLE else in_part
