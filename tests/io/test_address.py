"""Addresses of serial ports and sockets as they stand in lab.yaml."""

from __future__ import annotations

import pytest

from labd.io.address import Line, StreamAddress
from labd.io.serial import SerialLink
from labd.io.tcp import TcpLink

FACTORY = Line(4800, bytesize=7, parity="E")


def test_a_bare_port_has_the_devices_own_line() -> None:
    found = StreamAddress.parse("/dev/serial/by-id/usb-FTDI_1", FACTORY)
    assert (found.path, found.line) == ("/dev/serial/by-id/usb-FTDI_1", FACTORY)
    assert isinstance(found.link(), SerialLink)


def test_what_the_address_says_of_the_line_goes_first() -> None:
    found = StreamAddress.parse("serial:///dev/ttyS0?baudrate=9600&parity=N&bytesize=8&xonxoff=true", FACTORY)
    assert found == StreamAddress(Line(9600, xonxoff=True), path="/dev/ttyS0")


def test_a_socket_has_host_and_port() -> None:
    found = StreamAddress.parse("tcp://[fe80::1]:4001", FACTORY)
    assert (found.host, found.port) == ("fe80::1", 4001)
    assert isinstance(found.link(), TcpLink)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "balance.lab",
        "balance.lab:8001",
        "tcp://balance.lab",
        "tcp://balance.lab:99999",
        "http://balance.lab/x",
        "serial:///dev/ttyS0?baudrate=fast",
        "serial:///dev/ttyS0?parity=X",
        "serial:///dev/ttyS0?xonxoff=perhaps",
        "serial:///dev/ttyS0?colour=red",
        "serial:///dev/ttyS0?baudrate",
    ],
)
def test_what_is_no_address_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address.*write `/dev/serial/by-id/"):
        StreamAddress.parse(text, FACTORY)
