"""The gathering socket under paho, with a system that takes and gives as it is told."""

from __future__ import annotations

import ssl

import pytest

from labd.telemetry.wire import MOST_WAITING, Gathered


class System:
    """A socket: `room` bytes are taken, `come` are given, `deeper` are ssl's own."""

    def __init__(self, room: int = 0, full: type[OSError] = BlockingIOError) -> None:
        self.room, self.full = room, full
        self.come: list[bytes | OSError] = []
        self.taken = b""
        self.calls = 0
        self.deeper = 0
        self.closed = False

    def recv(self, size: int) -> bytes:
        self.calls += 1
        if not self.come:
            raise self.full
        found = self.come.pop(0)
        if isinstance(found, OSError):
            raise found
        assert len(found) <= size
        return found

    def send(self, data: bytes | bytearray) -> int:
        self.calls += 1
        if not self.room:
            raise self.full
        taken = bytes(data[: self.room])
        self.taken += taken
        self.room -= len(taken)
        return len(taken)

    def pending(self) -> int:
        return self.deeper

    def fileno(self) -> int:
        return 7

    def close(self) -> None:
        self.closed = True


def test_many_small_writes_are_one_call_of_the_system() -> None:
    system = System(room=1000)
    wire = Gathered(system)
    for number in range(10):
        assert wire.send(b"%d" % number) == 1
    assert (system.calls, wire.waiting) == (0, 10)
    wire.flush()
    assert (system.taken, system.calls, wire.waiting) == (b"0123456789", 1, 0)


@pytest.mark.parametrize("full", [BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError])
def test_what_the_system_does_not_take_waits_in_order(full: type[OSError]) -> None:
    system = System(room=4, full=full)
    wire = Gathered(system)
    wire.send(b"abcdef")
    wire.flush()
    assert (system.taken, wire.waiting) == (b"abcd", 2)
    wire.send(b"gh")
    system.room = 100
    wire.flush()
    assert (system.taken, wire.waiting) == (b"abcdefgh", 0)


def test_no_more_is_taken_than_a_bound() -> None:
    system = System()
    wire = Gathered(system)
    for _ in range(MOST_WAITING // 1024):
        assert wire.send(b"x" * 1024) == 1024
    with pytest.raises(BlockingIOError):
        wire.send(b"y")
    system.room = MOST_WAITING
    assert wire.send(b"y") == 1
    assert (len(system.taken), wire.waiting) == (MOST_WAITING, 1)


def test_a_connection_that_is_gone_is_told() -> None:
    wire = Gathered(System(full=ConnectionResetError))
    wire.send(b"x")
    with pytest.raises(ConnectionResetError):
        wire.flush()


def test_what_has_come_is_read_once_and_given_in_pieces() -> None:
    system = System()
    system.come = [b"\x40\x02\x00\x01", b""]
    system.deeper = 3
    wire = Gathered(system)
    assert wire.recv(1) == b"\x40"
    assert wire.pending() == 3 + 3
    assert wire.recv(1) + wire.recv(100) == b"\x02\x00\x01"
    assert (system.calls, wire.pending()) == (1, 3)
    assert wire.recv(1) == b""  # the end
    with pytest.raises(BlockingIOError):
        wire.recv(1)


def test_a_close_hands_over_the_good_bye_first() -> None:
    system = System(room=10)
    wire = Gathered(system)
    wire.send(b"bye")
    wire.close()
    assert (system.taken, system.closed) == (b"bye", True)


def test_a_close_of_a_dead_connection_closes() -> None:
    system = System(full=BrokenPipeError)
    wire = Gathered(system)
    wire.send(b"bye")
    wire.close()
    assert system.closed


def test_when_tls_has_to_read_first_it_is_not_waited_for_room_and_goes_on_after_reading() -> None:
    gone_on: list[bool] = []
    system = System(room=0, full=ssl.SSLWantReadError)
    wire = Gathered(system, lambda: gone_on.append(True))
    wire.send(b"abc")
    wire.flush()
    assert (wire.must_read, gone_on) == (True, [])
    system.come, system.room = [b"x"], 10
    assert wire.recv(1) == b"x"
    assert (wire.must_read, gone_on) == (False, [True])
    wire.flush()
    assert (system.taken, wire.must_read, wire.waiting) == (b"abc", False, 0)
