"""The analysis of a lab's series: computed when one ends, kept with its version and the hash of its rows, never twice.

It is done in a thread, one series at a time: the loop goes on, and a burst of cells that end together does not take the
whole machine.
"""

from __future__ import annotations

import asyncio

import structlog

from labd import clock
from labd.journal import Analysis, SignalError, SignalStore
from labd.records import analysis

log = structlog.get_logger(__name__)


class Analyst:
    """Computes and keeps. `run()` is its task, which takes what ends; `result` may be called without it."""

    def __init__(self, store: SignalStore) -> None:
        self._store = store
        self._ended: asyncio.Queue[str] = asyncio.Queue()
        self._one = asyncio.Lock()

    async def run(self) -> None:
        """Analyses each series as it ends, until cancelled. What fails is told in the log, and tried when asked for."""
        forget = self._store.on_finish(self._ended.put_nowait)
        try:
            while True:
                series = await self._ended.get()
                try:
                    await self.result(series)
                except SignalError as error:
                    log.warning("a series is not analysed yet", series=series, problem=str(error))
                except Exception:  # a mistake in the analysis must not end a lab that works
                    log.exception("a series cannot be analysed", series=series)
        finally:
            forget()

    async def result(self, series: str) -> Analysis:
        """What a series says, see `labd.records.analysis.analyse`.

        As it was kept; anew where its rows, the methods, or the library that they use have changed.

        Raises:
            SignalError: no such series, or the disk fails.
        """
        async with self._one:
            columns_of = await self._store.read(series, 0, 0)
            version, digest = analysis.version(tuple(columns_of)), await self._store.digest(series)
            kept = await self._store.analysis(series)
            if kept is not None and (kept.version, kept.input) == (version, digest):
                return kept
            columns = await self._store.read(series)
            found = Analysis(version, digest, clock.stamp(), await asyncio.to_thread(analysis.analyse, columns))
            await self._store.keep_analysis(series, found)
            return found
