"""The simulated port itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators._kit.pty import PtyError, PtyServer
from tests.simulators.ports import Port, is_gone


async def test_a_port_may_be_closed_and_opened_again(tmp_path: Path) -> None:
    got: list[bytes] = []
    server = PtyServer(tmp_path / "ports" / "one", got.append)
    path = await server.start()
    for number in range(3):
        with Port(path) as port:
            port.write(f"{number}\n")
            server.write(b"answer\n")
            assert await port.line() == "answer"
    assert b"".join(got) == b"0\n1\n2\n"
    await server.stop()
    assert is_gone(path)


async def test_a_stale_link_is_replaced_and_a_file_is_left_alone(tmp_path: Path) -> None:
    link = tmp_path / "one"
    link.symlink_to("/dev/pts/no-such")
    server = PtyServer(link, lambda _: None)
    await server.start()
    await server.stop()
    link.write_text("a file")
    with pytest.raises(PtyError, match="is no link"):
        await PtyServer(link, lambda _: None).start()
    assert link.read_text() == "a file"


async def test_writes_may_be_lost_cut_or_spoilt(tmp_path: Path) -> None:
    faults: dict[str, object] = {"drop": 1}
    server = PtyServer(tmp_path / "one", lambda _: None, faults)
    with Port(await server.start()) as port:
        server.write(b"lost\n")
        server.write(b"seen\n")
        assert await port.line() == "seen"
        faults["garble"] = 1
        server.write(b"spoilt\n")
        assert await port.line() == "s~oilt"
        faults["truncate"] = 3
        server.write(b"cut off\n")
        server.write(b"next\n")
        assert await port.line() == "cutnext"
    await server.stop()


async def test_what_nobody_reads_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    server = PtyServer(tmp_path / "one", lambda _: None)
    path = await server.start()
    for number in range(100_000):
        server.write(b"%06d\n" % number)
    with Port(path) as port:
        lines = [await port.line()]
        while lines[-1] != "099999":
            lines.append(await port.line())
    assert len(lines) < 60_000
    assert all(len(line) == 6 for line in lines)
    await server.stop()
