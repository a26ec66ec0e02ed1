"""A process that writes into labd's journal and tells every event that was acknowledged, until it is killed.

It has everything imported and forks a writer for each line of its stdin: `FOLDER SYNCHRONOUS SEED`. On its stdout the
writer says `pid N`, then `ack SEQ HASH` for each event; when the writer is gone, `gone`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import sys
from pathlib import Path

from labd import clock
from labd.journal import Journal, JournalError, NewEvent, schema

TASKS = 4


async def write(folder: Path, seed: int) -> None:
    """Appends without end."""
    journal = await Journal.open(folder / "journal.sqlite")

    async def one(dice: random.Random) -> None:
        while True:
            text = "x" * dice.choice((10, 300, 3000))
            journal.keep(f"run/{dice.randrange(8)}", {"text": text})
            events = [NewEvent("action.done", {"text": text}, "run-0001") for _ in range(dice.choice((1, 1, 3)))]
            tell("".join(f"ack {event.seq} {event.hash}\n" for event in await journal.append(*events)))

    async with asyncio.TaskGroup() as group:
        for number in range(TASKS):
            group.create_task(one(random.Random(f"{seed}/{number}")))


def tell(text: str) -> None:
    """At once, past every buffer."""
    os.write(1, text.encode())


def main() -> None:
    while line := sys.stdin.readline():
        folder, synchronous, seed = line.split()
        writer = os.fork()
        if writer == 0:
            tell(f"pid {os.getpid()}\n")
            schema.JOURNAL = dataclasses.replace(schema.JOURNAL, synchronous=synchronous)
            try:
                clock.run(write(Path(folder), int(seed)))
            except (JournalError, BaseExceptionGroup):
                os._exit(0)  # the disk is gone
        os.waitpid(writer, 0)
        tell("gone\n")


if __name__ == "__main__":
    main()
