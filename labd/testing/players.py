"""The other ends of a transcript: a device that plays it to a driver, and a client that plays it to a simulator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import struct
import tty
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labd.io.http import HttpLink
from labd.io.transcript import Entry, Mismatch, Player, Transcript
from simulators._kit.http import HttpServer, NoReply, Reply, Request
from simulators._kit.pty import PtyServer

_PORT = re.compile(r":0(?=$|[/?:])")
_MBAP = struct.Struct(">HHHB")
QUIET = 2.0  # s beyond its time after which a simulator says nothing more


# ── to a driver ──────────────────────────────────────────────────────────────────────────────────────────────────────
class Device(ABC):
    """Plays a transcript to a driver.

    `problem` is what the driver sent that the transcript does not hold, or None.
    """

    def __init__(self, transcript: Transcript) -> None:
        self.player = Player(transcript)
        self.problem: str | None = None
        self.writers: list[asyncio.StreamWriter] = []  # of all connections

    @abstractmethod
    async def start(self, address: str, directory: Path) -> str:
        """Listens; gives the address for the driver."""

    @abstractmethod
    async def stop(self) -> None: ...

    def take(self, data: bytes) -> list[Entry]:
        """What is answered to what was sent."""
        try:
            return self.player.take(data)
        except Mismatch as error:
            self.problem = self.problem or str(error)
            return []


def device(transcript: Transcript) -> Device:
    """The device for a transcript's kind of link."""
    kinds: dict[str, type[Device]] = {"stream": _Stream, "http": _Http, "modbus": _Modbus}
    return kinds[transcript.origin.link](transcript)


class _Stream(Device):
    def __init__(self, transcript: Transcript) -> None:
        super().__init__(transcript)
        self._timers: list[asyncio.TimerHandle] = []
        self._server: asyncio.Server | None = None
        self._pty: PtyServer | None = None
        self._last = 0.0  # when the last piece of all that is to be said is due

    async def start(self, address: str, directory: Path) -> str:
        if _PORT.search(address):
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            return _PORT.sub(f":{self._server.sockets[0].getsockname()[1]}", address)
        path, question, options = address.rpartition("://")[2].partition("?")
        self._pty = PtyServer(directory / Path(path).name, self._heard)
        scheme = "serial://" if "://" in address else ""
        link = await self._pty.start()
        self._play(self.player.start(), self._pty.write)
        return f"{scheme}{link}{question}{options}"

    async def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._pty is not None:
            await self._pty.stop()
        if self._server is not None:
            self._server.close()
        for writer in self.writers:
            writer.close()

    def _heard(self, data: bytes) -> None:
        assert self._pty is not None
        self._play(self.take(data), self._pty.write)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            self._play(self.player.start(), writer.write)
            while data := await reader.read(65536):
                self._play(self.take(data), writer.write)
        writer.close()

    def _play(self, entries: list[Entry], write: Any) -> None:
        loop = asyncio.get_running_loop()
        for entry in entries:
            self._last = max(self._last, loop.time()) + entry.dt
            self._timers.append(loop.call_at(self._last, write, entry.raw))


class _Http(Device):
    async def start(self, address: str, directory: Path) -> str:
        del directory
        self._server = HttpServer(self._handle)
        return _PORT.sub(f":{await self._server.start('127.0.0.1', 0)}", address)

    async def stop(self) -> None:
        await self._server.stop()

    async def _handle(self, request: Request) -> Reply:
        query = "&".join(f"{key}={value}" for key, value in request.query.items())
        path = f"{request.path}?{query}" if query else request.path
        answers = self.take(_http_text(request.method, path, request.body).encode())
        if not answers:
            raise NoReply
        await asyncio.sleep(answers[0].dt)
        status, _, body = answers[0].data.partition(" ")
        return Reply(int(status), json.loads(body) if body else None)


def _http_text(method: str, path: str, body: bytes) -> str:
    said = json.dumps(json.loads(body), sort_keys=True) if body else ""
    return f"{method} {path} {said}".strip()


class _Modbus(Device):
    async def start(self, address: str, directory: Path) -> str:
        del directory
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return _PORT.sub(f":{self._server.sockets[0].getsockname()[1]}", address)

    async def stop(self) -> None:
        self._server.close()
        for writer in self.writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                transaction, _, length, unit = _MBAP.unpack(await reader.readexactly(_MBAP.size))
                request = await reader.readexactly(length - 1)
                for answer in self.take(request.hex().encode()):
                    said = bytes.fromhex(answer.data)
                    writer.write(_MBAP.pack(transaction, 0, len(said) + 1, unit) + said)
        writer.close()


# ── to a simulator ───────────────────────────────────────────────────────────────────────────────────────────────────
Enough = Callable[[str], bool]


def _never(heard: str) -> bool:
    """It is never enough."""
    del heard
    return False


class Client(ABC):
    """Plays a transcript's requests to a simulator."""

    @abstractmethod
    async def open(self, address: str) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def say(self, entry: Entry | None, wait: float, enough: Enough = _never) -> str:
        """Sends a request (None: listens alone), and gives what is answered within so many seconds.

        It listens no longer than until `enough` was heard.
        """


def client(transcript: Transcript) -> Client:
    """The client for a transcript's kind of link."""
    kinds: dict[str, type[Client]] = {"stream": _StreamClient, "http": _HttpClient, "modbus": _ModbusClient}
    return kinds[transcript.origin.link]()


class _StreamClient(Client):
    async def open(self, address: str) -> None:
        self._heard = bytearray()
        self._file = -1
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        path = address.rpartition("://")[2].partition("?")[0]
        if path.startswith("/"):
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(self._file)
            asyncio.get_running_loop().add_reader(self._file, lambda: self._heard.extend(os.read(self._file, 65536)))
            return
        found = re.search(r"(127\.0\.0\.1|localhost)::?(\d+)", address)
        assert found is not None, f"{address}: this is no address of a stream"
        reader, self._writer = await asyncio.open_connection(found[1], int(found[2]))
        self._task = asyncio.ensure_future(self._listen(reader))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self._heard += data

    async def close(self) -> None:
        if self._file >= 0:
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
        if self._writer is not None:
            self._writer.close()
        if self._task is not None:
            await self._task

    async def say(self, entry: Entry | None, wait: float, enough: Enough = _never) -> str:
        if entry is not None and self._writer is not None:
            self._writer.write(entry.raw)
        elif entry is not None:
            os.write(self._file, entry.raw)
        end = asyncio.get_running_loop().time() + wait + QUIET
        await asyncio.sleep(wait)
        while not enough(self._heard.decode("latin-1")) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        heard = bytes(self._heard)
        self._heard.clear()
        return heard.decode("latin-1")


class _HttpClient(Client):
    async def open(self, address: str) -> None:
        self._link = HttpLink(address, headers={"Opentrons-Version": "*"})

    async def close(self) -> None:
        await self._link.close()

    async def say(self, entry: Entry | None, wait: float, enough: Enough = _never) -> str:
        del enough
        if entry is None:
            return ""
        method, _, rest = entry.data.partition(" ")
        path, _, body = rest.partition(" ")
        answer = await self._link.request(method, path, body=json.loads(body) if body else None, deadline=wait + 30)
        return f"{answer.status} {json.dumps(answer.body)}"


class _ModbusClient(Client):
    async def open(self, address: str) -> None:
        found = re.search(r"(127\.0\.0\.1|localhost):(\d+)", address)
        assert found is not None, f"{address}: this is no address of Modbus TCP"
        self._reader, self._writer = await asyncio.open_connection(found[1], int(found[2]))

    async def close(self) -> None:
        self._writer.close()
        await asyncio.sleep(0)

    async def say(self, entry: Entry | None, wait: float, enough: Enough = _never) -> str:
        del enough
        if entry is None:
            return ""
        request = bytes.fromhex(entry.data)
        self._writer.write(_MBAP.pack(1, 0, len(request) + 1, 1) + request)
        async with asyncio.timeout(wait + QUIET):
            _, _, length, _ = _MBAP.unpack(await self._reader.readexactly(_MBAP.size))
            answer = await self._reader.readexactly(length - 1)
        return answer.hex()
