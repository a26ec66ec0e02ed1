"""A part that does not end: after its time it is ended, and tells where each of its threads and tasks waits."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback

HUNG = 3  # exit status of a part that did not end


def ends_within(seconds: float, name: str) -> threading.Timer:
    """Ends this process after so many s of the machine's clock, with the stacks of what hangs on its standard error."""
    timer = threading.Timer(seconds, _end, (seconds, name))
    timer.daemon = True
    timer.start()
    return timer


def _end(seconds: float, name: str) -> None:
    told = [f"# {name}: not over within {seconds:g} s, and ended. Where it was:"]
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - there is no other way
        told += [f"# thread {names.get(ident, ident)}", *map(str.rstrip, traceback.format_stack(frame)[-8:])]
    for task in [one for one in gc.get_objects() if isinstance(one, asyncio.Task) and not one.done()]:
        told.append(f"# task {task.get_name()}")
        told += [f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" for frame in task.get_stack()]
    print("\n".join(told), file=sys.stderr, flush=True)
    os._exit(HUNG)
