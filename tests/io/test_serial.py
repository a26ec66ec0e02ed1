"""A serial link on a pty: late replies, unplugging, a port that another program holds."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import subprocess
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labd.io.portlock import PortLock
from labd.io.serial import SerialLink, make_exclusive
from labd.sdk import OutcomeUnknown, Unreachable

TIOCGEXCL = 0x80045440  # Linux; Python's termios does not name it


class Instrument:
    """The other end of a pty; what it does with what it is sent is up to the test."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.port = os.ttyname(self.slave)
        self.on_data: Callable[[bytes], None] = self.say
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.master, lambda: self.on_data(os.read(self.master, 4096)))

    def say(self, data: bytes) -> None:
        os.write(self.master, data)

    def say_after(self, delay: float, data: bytes) -> None:
        self._loop.call_later(delay, self.say, data)

    def unplug(self) -> None:
        if self.master >= 0:
            self._loop.remove_reader(self.master)
            os.close(self.slave)
            os.close(self.master)
            self.master = -1


@pytest.fixture
async def instrument() -> Iterator[Instrument]:
    found = Instrument()
    yield found
    found.unplug()


async def ask(link: SerialLink, request: bytes) -> str:
    async with link.exchange(1.0) as exchange:
        await exchange.write(request + b"\n")
        return await exchange.read_line()


async def test_an_answer_comes_back(instrument: Instrument) -> None:
    async with SerialLink(instrument.port, 921600) as link:
        assert await ask(link, b"t") == "t"


async def test_a_line_of_seven_bits_with_parity_opens(instrument: Instrument) -> None:
    async with SerialLink(instrument.port, 4800, bytesize=7, parity="E") as link:
        assert await ask(link, b"version") == "version"


async def test_a_late_reply_is_drained_before_the_next_request(instrument: Instrument) -> None:
    instrument.on_data = lambda data: instrument.say_after(1.3, data) if b"slow" in data else instrument.say(data)
    async with SerialLink(instrument.port, 921600, late=0.5) as link:
        with pytest.raises(OutcomeUnknown):
            await ask(link, b"slow")
        assert await ask(link, b"quick") == "quick"


async def test_half_a_reply_is_not_taken_for_the_next_answer(instrument: Instrument) -> None:
    instrument.on_data = lambda data: instrument.say(b"tes4_" if data == b"t\n" else data)
    async with SerialLink(instrument.port, 921600) as link:
        with pytest.raises(OutcomeUnknown):
            await ask(link, b"t")
        assert await ask(link, b"i") == "i"


async def test_an_unplugged_instrument_is_lost_until_it_is_opened_again(instrument: Instrument) -> None:
    link = SerialLink(instrument.port, 921600)
    await link.open()
    instrument.on_data = lambda _: instrument.unplug()
    with pytest.raises(OutcomeUnknown, match="link is lost"):
        await ask(link, b"e")
    with pytest.raises(Unreachable):
        await ask(link, b"e")
    with pytest.raises(Unreachable, match="plugged in"):
        await link.open()


async def test_a_port_in_use_is_refused_and_says_what_to_do(instrument: Instrument) -> None:
    async with SerialLink(instrument.port, 921600):
        with pytest.raises(Unreachable, match=r"in use by .*close it there first"):
            await SerialLink(instrument.port, 921600).open()
    async with SerialLink(instrument.port, 921600) as link:  # it was given back
        assert await ask(link, b"t") == "t"


async def test_a_port_that_is_not_there_asks_for_the_plug() -> None:
    with pytest.raises(Unreachable, match="plugged in"):
        await SerialLink("/dev/serial/by-id/usb-none", 9600).open()


async def test_xon_and_xoff_never_reach_the_driver(instrument: Instrument) -> None:
    instrument.on_data = lambda _: instrument.say(b"\x11P\x13da\x11\n")
    async with SerialLink(instrument.port, 230400, xonxoff=True) as link:
        assert await ask(link, b"t") == "Pda"


async def test_what_opening_makes_it_say_is_dropped(instrument: Instrument) -> None:
    instrument.say_after(0.3, b"boot 1.2.3\n")
    async with SerialLink(instrument.port, 9600, settle=2.0) as link:
        assert await ask(link, b"t") == "t"


async def test_a_device_that_takes_nothing_is_no_answer(instrument: Instrument) -> None:
    instrument._loop.remove_reader(instrument.master)
    async with SerialLink(instrument.port, 9600, write_timeout=2.0) as link:
        with pytest.raises(OutcomeUnknown):
            async with link.exchange(None) as exchange:
                await exchange.write(b"x" * 200_000)


async def test_a_device_that_stops_the_line_stops_nobody_else(instrument: Instrument) -> None:
    instrument.on_data = lambda data: None
    async with SerialLink(instrument.port, 9600, xonxoff=True, write_timeout=2.0) as link:
        instrument.say(b"\x13")  # XOFF: the kernel holds back all that is written
        ticks = asyncio.create_task(asyncio.sleep(0.5))
        with pytest.raises(OutcomeUnknown):
            await ask(link, b"t")
        assert ticks.done()
        instrument.on_data = instrument.say
        assert await ask(link, b"t") == "t"  # reopened, and the line goes on


# ── two owners ───────────────────────────────────────────────────────────────────────────────────────────────────
async def test_the_error_names_the_program_that_has_the_port(instrument: Instrument) -> None:
    script = "import fcntl, sys; f = open(sys.argv[1], 'r+b', 0); fcntl.flock(f, fcntl.LOCK_EX); print(); input()"
    with subprocess.Popen(  # noqa: ASYNC220 - a fork
        [sys.executable, "-c", script, instrument.port], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Unreachable, match=rf"in use by python\S* \(pid {other.pid}\)"):
            await SerialLink(instrument.port, 9600).open()
        other.communicate(b"\n")


async def test_a_second_link_of_labd_itself_is_told_as_such(instrument: Instrument) -> None:
    async with SerialLink(instrument.port, 9600):
        with pytest.raises(Unreachable, match=r"labd itself .* for another device"):
            await SerialLink(instrument.port, 9600).open()


@pytest.fixture
def real_port(instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instrument:
    """A pty that is taken for a real port, with a folder for lock files."""
    monkeypatch.setattr("labd.io.serial.is_pty", lambda _: False)
    monkeypatch.setattr(PortLock.__init__, "__defaults__", (tmp_path,))
    return instrument


async def test_a_real_port_is_locked_for_programs_of_every_kind(real_port: Instrument, tmp_path: Path) -> None:
    lock = tmp_path / f"LCK..{Path(real_port.port).name}"
    link = SerialLink(real_port.port, 9600)
    await link.open()
    assert lock.read_text() == f"{os.getpid():10d}\n"
    assert fcntl.ioctl(real_port.slave, TIOCGEXCL, b"\0\0\0\0") == b"\1\0\0\0"
    await link.close()
    assert not lock.exists()
    fcntl.ioctl(real_port.slave, termios.TIOCNXCL)


async def test_parity_is_looked_at(real_port: Instrument) -> None:
    make_exclusive(real_port.slave, parity=True)
    assert termios.tcgetattr(real_port.slave)[0] & termios.INPCK
    fcntl.ioctl(real_port.slave, termios.TIOCNXCL)


async def test_a_lock_file_of_a_living_program_names_it(real_port: Instrument, tmp_path: Path) -> None:
    lock = tmp_path / f"LCK..{Path(real_port.port).name}"
    with subprocess.Popen(["sleep", "600"]) as other:  # noqa: ASYNC220 - a fork
        for told in (f"{other.pid:10d}\n".encode(), other.pid.to_bytes(4, "little")):
            lock.write_bytes(told)
            with pytest.raises(
                Unreachable, match=rf"in use: \S+ \(pid {other.pid}\) has locked it by {lock}; close it"
            ):
                await SerialLink(real_port.port, 9600).open()
            assert lock.read_bytes() == told
        other.kill()
    async with SerialLink(real_port.port, 9600):  # whose holder has ended counts for nothing
        assert lock.read_text() == f"{os.getpid():10d}\n"
    assert not list(tmp_path.iterdir())
    fcntl.ioctl(real_port.slave, termios.TIOCNXCL)


def test_where_there_is_no_folder_for_lock_files_there_are_none(tmp_path: Path) -> None:
    lock = PortLock("/dev/ttyUSB0", tmp_path / "none")
    lock.release()
