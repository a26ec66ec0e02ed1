"""The other side of `labd.io.worker`: a process that keeps one object of a blocking library and calls what it is told.

It is run by its path, not as a module: it starts without labd, and imports nothing before it has labd's own paths.
It ends by itself when labd does: the kernel kills it with its parent, and where the kernel cannot, the socket's end
does, except while a library keeps the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from importlib import import_module
from operator import attrgetter
from typing import Any

HEAD = struct.Struct(">Q")  # bytes of the pickle that follows
_PR_SET_PDEATHSIG = 1
_ORPHANED = 3  # exit status


def main(paths: str, fd: str, parent: str) -> None:
    sys.path[:] = json.loads(paths)
    os.dup2(2, 1)  # what a library prints belongs into the log
    for number in (signal.SIGINT, signal.SIGTERM):  # those are for labd, which may still need the device
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        os._exit(_ORPHANED)
    sock = socket.socket(fileno=int(fd))
    threading.Thread(target=_end_with, args=(sock,), daemon=True).start()
    serve(sock)


def _end_with(sock: socket.socket) -> None:
    """Ends the process with the other end of its socket, also in the midst of a call."""
    ended = select.poll()
    ended.register(sock, select.POLLRDHUP | select.POLLHUP)
    ended.poll()
    os._exit(_ORPHANED)


def serve(sock: socket.socket) -> None:
    """The first request makes the object, each further one calls a method of it, in the order in which they come."""
    target: Any = None
    stream = sock.makefile("rb")
    while head := stream.read(HEAD.size):
        name, args, kwargs = pickle.loads(stream.read(*HEAD.unpack(head)))  # noqa: S301 - of our own parent
        try:
            if name is None:
                target = _made(args[0], args[1], kwargs)
                answer: tuple[Any, ...] = ("done", None)
            else:
                answer = ("done", attrgetter(name)(target)(*args, **kwargs))
            told = pickle.dumps(answer)
        except Exception as error:  # noqa: BLE001 - all of it is for the other side
            told = pickle.dumps(_failed(error))
        sock.sendall(HEAD.pack(len(told)) + told)


def _made(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    module, _, name = path.partition(":")
    return attrgetter(name)(import_module(module))(*args, **kwargs)


def _failed(error: Exception) -> tuple[Any, ...]:
    kind = type(error)
    if any(cls.__module__ == "labd.sdk.errors" for cls in kind.__mro__):
        with contextlib.suppress(Exception):  # one that cannot be sent is told by its name
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
            return ("raised", error)
    return ("failed", f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."), str(error), _trace(error))


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
