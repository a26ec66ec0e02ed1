"""Work that is ended from outside also when it was about to fail by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def apart(work: Coroutine[Any, Any, None]) -> None:
    """Runs work with groups of tasks in a task of its own.

    A group whose task is cancelled while one of its own fails tells the failure only, and forgets that it was cancelled
    (Python up to 3.12): whoever goes on after such a failure would never end. Here the end goes first.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
    task.result()
