"""Independent peers: mosquitto as broker, mosquitto_sub as subscriber, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from labd import clock
from tests.ports import free_port
from tests.telemetry.parts import Watcher

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return found


@dataclass
class Mosquitto:
    folder: Path
    port: int
    process: Process | None = None

    async def start(self, *lines: str) -> None:
        """Runs a broker without memory, with further lines of configuration, until it takes connections."""
        config = self.folder / "mosquitto.conf"
        text = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true", *lines]
        if os.geteuid() == 0:
            text.append("user root")  # else it becomes a user that may not read the test's files
        config.write_text("\n".join(text) + "\n")
        command = (program("mosquitto", "mosquitto"), "-c", str(config))
        self.process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
        async with asyncio.timeout(clock.of_machine(60)):
            while not await self._answers():
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def mosquitto(folder: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(folder, free_port())
    await broker.start()
    try:
        yield broker
    finally:
        await broker.kill()


@asynccontextmanager
async def subscribed(port: int, *options: str) -> AsyncIterator[Watcher]:
    """mosquitto_sub at work; it has subscribed when this is entered."""
    watcher = Watcher("labd/1/lab/")
    ready = asyncio.Event()
    command = (
        *(program("mosquitto_sub", "mosquitto-clients"), "-h", "127.0.0.1", "-p", str(port), "-q", "1", *options),
        *("-t", "labd/1/lab/#", "-t", "ready", "-F", "%t %r %q %p"),
    )
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            topic, retained, qos, payload = line.decode().rstrip("\n").split(" ", 3)
            if topic == "ready":
                ready.set()
            else:
                watcher.take(topic, payload.encode(), retained=retained == "1", qos=int(qos))

    task = asyncio.create_task(read())
    try:
        publish = program("mosquitto_pub", "mosquitto-clients")
        async with asyncio.timeout(clock.of_machine(60)):
            while not ready.is_set():
                said = await asyncio.create_subprocess_exec(publish, "-p", str(port), "-t", "ready", "-m", "x")
                await said.wait()
        yield watcher
    finally:
        process.kill()
        await process.wait()
        task.cancel()
        await asyncio.wait([task])
