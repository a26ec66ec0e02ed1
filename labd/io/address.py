"""Where a device with a text protocol is: a serial port, or TCP (its own socket, or a serial server before it)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from labd.io.serial import SerialLink
from labd.io.stream import StreamLink
from labd.io.tcp import TcpLink

_NUMBERS = {"baudrate", "bytesize", "stopbits"}
_SWITCHES = {"xonxoff", "rtscts"}
_ALLOWED: dict[str, tuple[Any, ...]] = {"bytesize": (5, 6, 7, 8), "stopbits": (1, 2), "parity": ("N", "E", "O")}


@dataclass(frozen=True, slots=True)
class Line:
    """How a serial line is set up; a driver gives its device's factory setting."""

    baudrate: int
    bytesize: int = 8
    parity: str = "N"
    stopbits: int = 1
    xonxoff: bool = False
    rtscts: bool = False


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """A serial port with its line, or a host and a TCP port."""

    line: Line
    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str, line: Line) -> StreamAddress:
        """Reads an address.

        Args:
            text: `tcp://host:port`, `serial:///dev/…[?baudrate=9600&parity=E&bytesize=7&stopbits=1&xonxoff=true]`, or
                the path of a port.
            line: what holds where the text says nothing.

        Raises:
            ValueError: it is no address; says how to write one.
        """
        try:
            url = urlsplit(text)
            port = url.port
            options = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
            if url.scheme == "tcp" and url.hostname and port and not options and url.path in {"", "/"}:
                return cls(line, host=url.hostname, port=port)
            path = f"{url.netloc}{url.path}"
            if url.scheme in {"serial", ""} and "/" in path:
                return cls(_line(line, options), path=path)
        except ValueError as error:
            raise ValueError(f"{text!r} is no address: {error}; {_HOW}") from error
        raise ValueError(f"{text!r} is no address; {_HOW}")

    def link(self, *, late: float = 0.5) -> StreamLink:
        """A link to it, not open. `late`: see StreamLink."""
        if self.host:
            return TcpLink(self.host, self.port, late=late)
        line = self.line
        return SerialLink(
            self.path,
            line.baudrate,
            bytesize=line.bytesize,
            parity=line.parity,
            stopbits=line.stopbits,
            rtscts=line.rtscts,
            xonxoff=line.xonxoff,
            late=late,
        )


_HOW = "write `/dev/serial/by-id/…`, `serial:///dev/ttyUSB0?baudrate=9600&parity=N` or `tcp://10.0.0.7:4001`"


def _line(line: Line, options: dict[str, str]) -> Line:
    given: dict[str, Any] = {}
    for key, text in options.items():
        if key in _NUMBERS:
            given[key] = int(text)
        elif key == "parity":
            given[key] = text
        elif key in _SWITCHES and text in {"true", "false"}:
            given[key] = text == "true"
        else:
            raise ValueError(f"{key}={text}")
        allowed = _ALLOWED.get(key)
        if allowed is not None and given[key] not in allowed:
            raise ValueError(f"{key} is one of {', '.join(map(str, allowed))}")
    return replace(line, **given)
