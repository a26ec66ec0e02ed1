"""Links that carry a stream of bytes: one exchange at a time, each with a deadline.

What keeps answers with their questions:

- a link on which a deadline passed is *dirty*: before the next exchange it is drained and opened again, so that a
  late reply is never taken for the next answer;
- any I/O error means that the link is lost: it is closed, and stays so until `open()`.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Protocol, Self

from labd import clock
from labd.io.errors import LinkLost, failure
from labd.io.tap import Tapped
from labd.sdk import DeviceError, Unreachable

_NO_LIMIT = contextlib.nullcontext()


def _within(seconds: float | None) -> contextlib.AbstractAsyncContextManager[object]:
    """A deadline; where there is none nothing is set up for it, which costs a tenth of an exchange each."""
    return _NO_LIMIT if seconds is None else asyncio.timeout(seconds)


class Writer(Protocol):
    """The part of `asyncio.StreamWriter` that a link uses."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def is_closing(self) -> bool: ...
    async def wait_closed(self) -> None: ...


def _taken(writer: Writer) -> bool:
    """Whether the kernel has all that was written, so that there is nothing to wait for."""
    return isinstance(writer, asyncio.StreamWriter) and writer.transport.get_write_buffer_size() == 0


class StreamLink(Tapped, ABC):
    """A stream of bytes to one device. Does not connect by itself: `open()` does.

    Args:
        address: where the device is, as people write it; stands in every error.
        late: s; the longest that an answer of this device may be late. So long a dirty link must be silent before
            it is opened again.
        open_timeout: s; opening the link may take so long.
        write_timeout: s; the device must have taken what is written within it.
        limit: bytes; an answer without its terminator may be so long at most.
        ignore: bytes that are dropped wherever they come (XON, XOFF).
    """

    def __init__(
        self,
        address: str,
        *,
        late: float = 0.5,
        open_timeout: float = 5.0,
        write_timeout: float = 5.0,
        limit: int = 2**18,
        ignore: bytes = b"",
    ) -> None:
        self.address = address
        self.dirty = False
        self._late = late
        self._open_timeout = open_timeout
        self._write_timeout = write_timeout
        self._limit = limit
        self._ignore = ignore
        self._reader: asyncio.StreamReader | None = None
        self._writer: Writer | None = None
        self._lock = asyncio.Lock()

    # ── what a kind of link says of itself ───────────────────────────────────────────────────────────────────────
    @abstractmethod
    async def _connect(self) -> tuple[asyncio.StreamReader, Writer]:
        """Opens the stream. Raises OSError."""

    @abstractmethod
    def _abort(self, writer: Writer) -> None:
        """Closes the stream at once; called only while it is open."""

    def _explain(self, error: OSError) -> str:
        """Why it could not be opened, and what to do about it."""
        return f"{self.address}: cannot be opened: {error.strerror or error}"

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def is_open(self) -> bool:
        """Whether the stream stands, as far as this side knows."""
        if self._writer is None or self._reader is None or self._writer.is_closing():
            return False
        return not self._reader.at_eof()

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return self._lock.locked()

    async def open(self) -> None:
        """Opens the link; harmless when open.

        Raises:
            Unreachable: it cannot be opened; says why and what to do.
        """
        if self.is_open:
            return
        await self.close()
        try:
            async with asyncio.timeout(self._open_timeout):
                self._reader, self._writer = await self._connect()
        except TimeoutError as error:
            raise Unreachable(f"{self.address}: no connection within {self._open_timeout:g} s") from error
        except OSError as error:
            # finding out who holds a port reads files
            raise Unreachable(await asyncio.to_thread(self._explain, error)) from error
        self.dirty = False

    async def close(self) -> None:
        """Closes the link. Never raises; harmless when closed."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is None:
            return
        if not writer.is_closing():
            self._abort(writer)
        with contextlib.suppress(OSError):  # why it broke was told to whoever was waiting on it
            await writer.wait_closed()

    async def reopen(self) -> None:
        """Waits until nothing late comes any more, closes, and opens again.

        Raises:
            Unreachable: it cannot be opened again.
        """
        if self.is_open:
            with contextlib.suppress(LinkLost):
                await self.drain()
        await self.close()
        await self.open()

    async def drain(self, quiet: float | None = None) -> bytes:
        """Throws away what comes until nothing has come for so many seconds (default: `late`), and gives it back.

        Raises:
            LinkLost: the link broke, or the device has not stopped talking after ten times as long.
        """
        quiet = self._late if quiet is None else quiet
        until = clock.monotonic() + 10 * quiet
        dropped = bytearray()
        while len(dropped) <= self._limit and clock.monotonic() <= until:
            reader = self._standing()
            try:
                async with asyncio.timeout(quiet):
                    data = await reader.read(4096)
            except TimeoutError:
                return bytes(dropped)
            except OSError as error:
                raise LinkLost(f"{self.address}: the link is lost: {error}") from error
            if not data:
                raise LinkLost(f"{self.address}: the other side closed the link")
            self._note("in", data)
            dropped += data
        raise LinkLost(f"{self.address}: the device talks without end; is it the right device, at the right speed?")

    # ── bytes ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def write(self, data: bytes) -> None:
        """Sends bytes, beside any exchange: for what a device takes while it answers something else (an abort).

        Raises:
            LinkLost: the link is not open, or broke.
            TimeoutError: the device does not take them.
        """
        self._standing()
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        """Sends bytes on a stream that stands. Raises as `write`."""
        writer = self._writer
        assert writer is not None
        self._note("out", data)
        try:
            writer.write(data)
            async with _within(None if _taken(writer) else self._write_timeout):
                await writer.drain()  # also where nothing is left: it raises what broke
        except TimeoutError:
            self.dirty = True
            raise
        except OSError as error:
            raise LinkLost(f"{self.address}: the link is lost: {error}") from error

    async def read_until(self, terminator: bytes = b"\n", timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """The bytes up to a terminator, without it. What came before a deadline passed is kept for the next call.

        Args:
            terminator: what ends an answer.
            timeout: s; None waits for ever (an exchange has a deadline of its own).

        Raises:
            LinkLost: the link broke, or so much came without a terminator that this cannot be the device.
            TimeoutError: the deadline passed.
        """
        reader = self._standing()
        try:
            async with _within(timeout):
                data = await reader.readuntil(terminator)
        except TimeoutError:
            raise
        except asyncio.IncompleteReadError as error:
            rest = f" after {error.partial[-40:]!r}" if error.partial else ""
            raise LinkLost(f"{self.address}: the other side closed the link{rest}") from error
        except asyncio.LimitOverrunError as error:
            raise LinkLost(
                f"{self.address}: {self._limit} bytes without an end of an answer; "
                "is it the right device, at the right speed?"
            ) from error
        except OSError as error:
            raise LinkLost(f"{self.address}: the link is lost: {error}") from error
        self._note("in", data)
        return data[: -len(terminator)].translate(None, self._ignore)

    async def read_exactly(self, count: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """So many bytes, for messages of a fixed size; `timeout` in s. Raises as `read_until`."""
        reader = self._standing()
        try:
            async with _within(timeout):
                data = await reader.readexactly(count)
        except TimeoutError:
            raise
        except asyncio.IncompleteReadError as error:
            raise LinkLost(
                f"{self.address}: the other side closed the link after {len(error.partial)} of {count} bytes"
            ) from error
        except OSError as error:
            raise LinkLost(f"{self.address}: the link is lost: {error}") from error
        self._note("in", data)
        return data

    async def read_line(self, timeout: float | None = None) -> str:  # noqa: ASYNC109
        """The next line as text, without its end; bytes that are no ASCII are escaped. Raises as `read_until`."""
        line = await self.read_until(b"\n", timeout)
        return line.rstrip(b"\r").decode("ascii", "backslashreplace")

    def _standing(self) -> asyncio.StreamReader:
        if self._reader is None:
            raise LinkLost(f"{self.address} is not open")
        if not self.is_open:
            # a broken stream still holds why it broke: that is what the technician must read
            cause = self._reader.exception()
            raise LinkLost(f"{self.address}: the link is lost: {cause or 'the other side closed it'}")
        return self._reader

    # ── exchanges ────────────────────────────────────────────────────────────────────────────────────────────────
    def exchange(self, timeout: float | None, *, reopen: bool = True) -> Exchange:
        """One request with its answer, alone on the link.

        Args:
            timeout: s; the deadline of all of it. None: each read has its own.
            reopen: a dirty link is drained and opened again first. False for a protocol that finds the thread by a
                request of its own, and may not wait with it (an abort); it says that it has by `dirty = False`.

        Raises:
            Unreachable: the link is down, or went down before anything was sent.
            OutcomeUnknown: something was sent, and no full answer came.
        """
        return Exchange(self, timeout, reopen=reopen)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Exchange:
    """What one request sent and received so far; made by `StreamLink.exchange`.

    No generator under `contextlib`: that would cost a twentieth of an exchange.
    """

    def __init__(self, link: StreamLink, timeout: float | None, *, reopen: bool) -> None:
        self._link = link
        self._timeout = timeout
        self._reopen = reopen
        self._deadline: contextlib.AbstractAsyncContextManager[object] = _NO_LIMIT
        self.sent = b""
        self.received = b""

    async def __aenter__(self) -> Self:
        link = self._link
        await link._lock.acquire()  # noqa: SLF001 - the other half of a link
        try:
            if link.dirty and self._reopen:
                await link.reopen()
            self._deadline = _within(self._timeout)  # from now on
            await self._deadline.__aenter__()
        except BaseException:
            link._lock.release()  # noqa: SLF001
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            try:
                await self._deadline.__aexit__(kind, error, traceback)
            except TimeoutError as late:
                error = late
            if error is not None:
                await self._failed(error)
        finally:
            self._link._lock.release()  # noqa: SLF001

    async def _failed(self, error: BaseException) -> None:
        """What is left of the link; raises the driver's error where it is about the link."""
        link = self._link
        if isinstance(error, TimeoutError):
            link.dirty = True
            limit = f" within {self._timeout:g} s" if self._timeout is not None else " in time"
            raise self.failure(f"{link.address}: no answer{limit}") from error
        if isinstance(error, LinkLost):
            await link.close()
            raise self.failure(str(error)) from error
        if isinstance(error, asyncio.CancelledError):
            # its answer may still come, and is nobody's
            link.dirty = link.dirty or bool(self.sent)

    async def write(self, data: bytes) -> None:
        """Sends bytes. Raises LinkLost, TimeoutError, which the exchange turns into the driver's errors."""
        self._link._standing()  # noqa: SLF001
        self.sent += data  # from here on nobody can say that nothing went out
        await self._link._send(data)  # noqa: SLF001

    async def read_until(self, terminator: bytes = b"\n", timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """The bytes up to a terminator, without it; `timeout` in s, beside the exchange's own."""
        data = await self._link.read_until(terminator, timeout)
        self.received = data
        return data

    async def read_line(self, timeout: float | None = None) -> str:  # noqa: ASYNC109
        """The next line as text, without its end; `timeout` in s, beside the exchange's own."""
        line = await self._link.read_line(timeout)
        self.received = line.encode()
        return line

    def failure(self, message: str) -> DeviceError:
        """The driver's error for this exchange: Unreachable when nothing was sent, else OutcomeUnknown."""
        return failure(message, sent=self.sent, received=self.received)
