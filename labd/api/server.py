"""Serves the interface on a Unix socket, and on TCP where lab.yaml asks for it, inside the daemon's own loop.

uvicorn speaks HTTP; its server object is not used: it takes the process's signals, and it wakes ten times a second,
which on virtual time is 360,000 times in ten hours.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from labd.api.app import Services, make_app
from labd.lab.config import LabError

log = structlog.get_logger(__name__)

STOP_LIMIT = 5.0  # s; how long a request that is being answered may still take at the end
MODE = 0o660  # the daemon's user and group may command the lab
LOOPBACK = ("127.0.0.1", "localhost")


class ApiServer:
    """The listening sockets and their connections.

    Args:
        services: the daemon's parts.
        path: the Unix socket.
        listen: `host:port`, or None; port 0: any free one.
    """

    def __init__(self, services: Services, path: Path, listen: str | None = None) -> None:
        host = listen.rpartition(":")[0] if listen else None
        app = make_app(services, [*LOOPBACK, "labd"] if host in LOOPBACK else [])
        self._services = services
        self.path = path
        self.tcp: tuple[str, int] | None = None
        self._listen = listen
        self._config = Config(app, lifespan="off", log_config=None, access_log=False, ws="none", server_header=False)
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._inode: int | None = None

    async def start(self) -> None:
        """Listens.

        Raises:
            LabError: a path or address of lab.yaml that cannot be listened on.
        """
        self._config.load()
        loop = asyncio.get_running_loop()
        try:
            self._servers.append(await loop.create_unix_server(self._connection, sock=self._bind()))
            if self._listen is not None:
                self._servers.append(await self._listen_tcp(self._listen))
        except BaseException:
            await self.stop()
            raise

    def _connection(self) -> H11Protocol:
        return H11Protocol(self._config, self._state, {})

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(self.path)
            listener.bind(str(self.path))
            self._inode = self.path.stat().st_ino
            self.path.chmod(MODE)  # before it listens: nobody connects in between
        except OSError as error:
            listener.close()
            raise LabError(f"api.socket: {self.path}: {error.strerror or error}") from error
        except BaseException:
            listener.close()
            raise
        return listener

    async def _listen_tcp(self, listen: str) -> asyncio.Server:
        host, _, port = listen.rpartition(":")
        try:
            server = await asyncio.get_running_loop().create_server(self._connection, host, int(port))
        except (OSError, OverflowError) as error:
            said = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise LabError(f"api.listen: {listen}: {said}; name a free address of this machine") from error
        self.tcp = server.sockets[0].getsockname()[:2]
        return server

    async def stop(self) -> None:
        """Takes no more connections, lets requests that are being answered end, and closes everything."""
        self._services.close()
        for server in self._servers:
            server.close()
        self._unlink()
        for _ in range(3):
            await asyncio.sleep(0)  # a connection that was just accepted gets to its protocol, and is closed with it
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_LIMIT)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the loop's next turn closes them
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    def _unlink(self) -> None:
        """Removes the socket file unless another daemon has put its own there since."""
        with contextlib.suppress(FileNotFoundError):
            if self._inode is not None and self.path.stat().st_ino == self._inode:
                self.path.unlink()
        self._inode = None


def _remove_stale(path: Path) -> None:
    """Removes a socket file that a dead daemon has left. Raises LabError when it is alive, or is no socket."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise LabError(f"api.socket: {path} is there and is no socket; move it away or name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(str(path))
    if answer == errno.ECONNREFUSED:
        path.unlink(missing_ok=True)
        return
    said = "another daemon answers there; stop it first" if answer in (0, errno.EAGAIN) else os.strerror(answer)
    raise LabError(f"api.socket: {path}: {said}")


@contextlib.asynccontextmanager
async def serve_api(services: Services, path: Path, listen: str | None = None) -> AsyncIterator[ApiServer]:
    """Serves /api/v1 for as long as the block lasts. Raises LabError as `ApiServer.start` does."""
    server = ApiServer(services, path, listen)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
