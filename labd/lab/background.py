"""Parts of the daemon that run beside a block, and end with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any


@contextlib.asynccontextmanager
async def background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Runs a part beside the block, and ends it with the block. A part that fails ends the block with its error."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        try:
            yield
        finally:
            task.cancel()


async def together(works: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Runs parts side by side, by their names. They are ended all at once: only the slowest is waited for.

    One that fails ends the others with its error.
    """
    async with asyncio.TaskGroup() as group:
        for name, work in works.items():
            group.create_task(work, name=name)
