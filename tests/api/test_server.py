"""The sockets that the interface is served on."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import httpx
import pytest

from labd.lab.config import LabError
from tests.api.conftest import PRESSING, Served


async def test_the_socket_is_for_the_daemons_user_and_group_alone(served: Served) -> None:
    async with served() as bench:
        assert stat.S_IMODE(bench.path.stat().st_mode) == 0o660
    assert not bench.path.exists()


async def test_a_dead_daemons_socket_file_gives_way(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "store" / "labd.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    async with served() as bench:
        assert (await bench.client.get("/status")).status_code == 200


async def test_a_living_daemon_keeps_its_socket(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "store" / "labd.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as living:
        living.bind(str(path))
        living.listen()
        with pytest.raises(BaseExceptionGroup) as refused:
            async with served():
                pass
    assert refused.group_contains(LabError, match="another daemon answers")
    assert path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "store" / "labd.sock"
    path.parent.mkdir()
    path.write_text("notes")
    with pytest.raises(BaseExceptionGroup) as refused:
        async with served():
            pass
    assert refused.group_contains(LabError, match="is no socket")
    assert path.read_text() == "notes"


async def test_tcp_serves_the_same_and_refuses_other_peoples_names(served: Served) -> None:
    async with served("127.0.0.1:0") as bench:
        assert bench.server.tcp is not None
        host, port = bench.server.tcp
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}/api/v1") as client:
            assert (await client.get("/status")).status_code == 200
            rebound = await client.get("/status", headers={"host": "lab.example.org"})
            assert rebound.status_code == 400


async def test_over_tcp_no_directory_is_named(served: Served, tmp_path: Path) -> None:
    async with served("127.0.0.1:0") as bench:
        run = (await bench.start())["run"]
        assert bench.server.tcp is not None
        host, port = bench.server.tcp
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}/api/v1") as client:
            body = {"to": "csv", "directory": str(tmp_path / "out")}
            assert (await client.post(f"/runs/{run}/export", json=body)).status_code == 403


async def test_an_address_that_is_taken_is_told_by_its_place_in_lab_yaml(served: Served) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BaseExceptionGroup) as refused:
            async with served(f"127.0.0.1:{taken.getsockname()[1]}"):
                pass
    assert refused.group_contains(LabError, match=r"api\.listen: 127\.0\.0\.1:\d+: Address already in use")


async def test_nonsense_on_the_wire_harms_nobody_else(served: Served) -> None:
    async with served() as bench:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as rude:
            rude.connect(str(bench.path))
            rude.sendall(b"\x00\x01 nonsense\r\n\r\n")
            assert (await bench.client.get("/status")).status_code == 200
        assert (await bench.client.post("/runs", content=b"{", headers={"content-type": "application/json"})).is_error
        assert (await bench.start(protocol=PRESSING))["run"] == "run-0001"
