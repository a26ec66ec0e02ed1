"""An object of a blocking library, as bad as they come; it lives in a process of its own."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from typing import Any

from labd.sdk import Rejected


class LibraryError(Exception):
    """What such a library raises."""


class Instrument:
    def __init__(self, name: str = "", *, refuse: bool = False) -> None:
        sys.stdout.write("Vendor DLL 1.2, all rights reserved\n")
        if refuse:
            raise LibraryError("no such resource")
        self.name = name
        self.calls = 0
        self.link: socket.socket | None = None

    def query(self, text: str, end: str = "") -> str:
        self.calls += 1
        return f"{self.name}: {text}{end}"

    def pid(self) -> int:
        return os.getpid()

    def hang(self) -> None:
        time.sleep(3600)

    def hang_with_the_lock(self) -> None:
        """Blocks in C without letting other threads run."""
        ctypes.PyDLL(None).sleep(3600)

    def crash(self) -> None:
        ctypes.string_at(0)

    def leave(self) -> None:
        os._exit(7)

    def noise(self, size: int) -> int:
        """Prints, and writes to the standard output past Python."""
        sys.stdout.write("x" * size)
        sys.stdout.flush()
        os.write(1, b"\x00\x01 not for you \xff" * size)
        return size

    def fail(self) -> None:
        raise LibraryError("VI_ERROR_TMO: timeout")

    def refuse(self) -> None:
        raise Rejected("the range is wrong", sent="RANG 7")

    def strange(self) -> Any:
        return lambda: None

    def big(self, size: int) -> bytes:
        return b"d" * size

    def connect(self, host: str, port: int) -> None:
        self.link = socket.create_connection((host, port))

    def ask(self, text: str) -> str:
        assert self.link is not None
        self.link.sendall(text.encode() + b"\n")
        return self.link.makefile().readline().strip()
