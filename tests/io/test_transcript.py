"""What went over a link can be written down and played again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd import clock
from labd.io.tcp import TcpLink
from labd.io.transcript import Mismatch, Origin, Player, Recorder, ReplayLink, Transcript
from labd.sdk import OutcomeUnknown, Unreachable

ORIGIN = Origin(device="echo", source="this test", version="1")


def transcript(*entries: dict[str, object]) -> Transcript:
    return Transcript.model_validate({"origin": ORIGIN, "entries": entries})


async def test_a_recording_replays_as_it_was(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            await asyncio.sleep(0.25)
            writer.write(b"\xff" + data)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    path = tmp_path / "echo.jsonl"
    async with TcpLink("127.0.0.1", server.sockets[0].getsockname()[1]) as link:
        with Recorder(link, path, ORIGIN):
            async with link.exchange(1) as exchange:
                await exchange.write(b"t\0")
                assert await exchange.read_until(b"\0") == b"\xfft"
    await asyncio.sleep(1)
    server.close()
    await server.wait_closed()

    read = Transcript.read(path)
    assert read.origin == ORIGIN
    async with ReplayLink(read) as link:
        began = clock.monotonic()
        async with link.exchange(1) as exchange:
            await exchange.write(b"t\0")
            assert await exchange.read_until(b"\0") == b"\xfft"
        assert clock.monotonic() - began == pytest.approx(0.25)
        assert not link.player.rest


def test_what_is_sent_in_pieces_is_the_same() -> None:
    player = Player(transcript({"dir": "out", "data": "e\nvar"}, {"dir": "in", "data": "e"}))
    assert player.take(b"e\n") == []
    assert [entry.data for entry in player.take(b"var")] == ["e"]


def test_anything_else_than_was_recorded_is_a_mismatch() -> None:
    player = Player(transcript({"dir": "out", "data": "t\n"}))
    with pytest.raises(Mismatch, match=r"entry 1: b't\\n' was to be sent"):
        player.take(b"i\n")


async def ask(link: ReplayLink) -> str:
    async with link.exchange(1) as exchange:
        await exchange.write(b"t")
        return await exchange.read_line()


async def test_a_replayed_cut_is_a_lost_link() -> None:
    async with ReplayLink(transcript({"dir": "out", "data": "t"}, {"dir": "cut", "dt": 0.1})) as link:
        with pytest.raises(OutcomeUnknown, match="closed the link"):
            await ask(link)
        with pytest.raises(Unreachable):
            await ask(link)


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(ORIGIN.model_dump_json() + '\n{"dir": "sideways"}\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl:2: dir"):
        Transcript.read(path)
