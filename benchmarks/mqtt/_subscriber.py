"""A subscriber that costs little, in a process of its own: `python -m benchmarks.mqtt._subscriber PORT PATTERN`.

It speaks MQTT 3.1.1 over a bare socket, at QoS 0. On standard input it is asked: `until N` is answered once so many
messages have come since it was told the last time; `look` has it read what comes from now on; `tell` is answered with
what it has read, as JSON.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

SILENT = 1.0  # s


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((kind, len(body))) + body


def _packets(buffer: bytearray) -> Iterator[tuple[int, int, int]]:
    """Kind, begin and end of each whole packet in the buffer; they are taken out of it at the end."""
    position, size = 0, len(buffer)
    while size - position >= 2:
        length, shift, body = 0, 0, position + 1
        while True:
            if body == size:
                break
            byte = buffer[body]
            length |= (byte & 0x7F) << shift
            body, shift = body + 1, shift + 7
            if byte < 0x80:
                break
        if body + length > size or buffer[body - 1] >= 0x80:
            break
        yield buffer[position] >> 4, body, body + length
        position = body + length
    del buffer[:position]


class Subscriber:
    """What came: how much, when, and which numbers of which topic."""

    def __init__(self, port: int, pattern: str) -> None:
        self.link = socket.create_connection(("127.0.0.1", port))
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.link.sendall(_packet(0x10, _text("MQTT") + b"\x04\x02\x00\x00" + _text(f"count-{port}-{time.time_ns()}")))
        self._buffer = bytearray()
        self.got = 0
        self.looking = False
        self.began = 0.0
        self.latencies: list[float] = []
        self.first: dict[str, int] = {}  # by topic: how often the device had been read, as it counts itself
        self.last: dict[str, int] = {}
        self.replied: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._await(2)
        self.link.sendall(_packet(0x82, b"\x00\x01" + _text(pattern) + b"\x00"))
        self._await(9)

    def _await(self, kind: int) -> None:
        while kind not in [found for found, _, _ in _packets(self._buffer)]:
            self._buffer += self.link.recv(65536)

    def take(self) -> None:
        """Takes what has come."""
        self._buffer += self.link.recv(1 << 20)
        now = time.time()
        for kind, begin, end in _packets(self._buffer):
            if kind == 3:
                self.got += 1
                if self.looking:
                    self._look(self._buffer[begin:end], now)

    def _look(self, body: bytes | bytearray, now: float) -> None:
        length = int.from_bytes(body[:2], "big")
        topic, told = body[2 : 2 + length].decode(), json.loads(body[2 + length :])
        values = told["values"]
        self.replied[topic] = values["replied"]["v"]
        self.latencies.append(now - self.replied[topic])
        self.first.setdefault(topic, values["count"]["v"])
        self.last[topic] = values["count"]["v"]
        self.counts[topic] = self.counts.get(topic, 0) + 1

    def tell(self) -> dict[str, Any]:
        """What came of what the devices were asked, by their own count.

        `polls` a second were made; of those between the first and the last that came so many are `missing`. A device
        of which nothing came in the last second is `silent`: what is missing of it at the end cannot be counted.
        """
        polls = sum(self.last[topic] - self.first[topic] + 1 for topic in self.counts)
        now = time.time()
        return {
            "latencies": sorted(self.latencies),
            "missing": polls - len(self.latencies),
            "polls": polls / (now - self.began),
            "rate": len(self.latencies) / (now - self.began),
            "topics": len(self.counts),
            "silent": sum(now - replied > SILENT for replied in self.replied.values()),
        }


def main() -> None:
    subscriber = Subscriber(int(sys.argv[1]), sys.argv[2])
    until = 0
    print("subscribed", flush=True)
    while True:
        ready, _, _ = select.select([subscriber.link, sys.stdin], [], [])
        if subscriber.link in ready:
            subscriber.take()
        if sys.stdin in ready:
            match sys.stdin.readline().split():
                case ["until", number]:
                    until = int(number)
                case ["look"]:
                    subscriber.looking, subscriber.began = True, time.time()
                case ["tell"]:
                    subscriber.looking = False
                    print(json.dumps(subscriber.tell()), flush=True)
                    subscriber.latencies, subscriber.counts = [], {}
                    subscriber.first, subscriber.last, subscriber.replied = {}, {}, {}
                case []:
                    return
        if until and subscriber.got >= until:
            print(subscriber.got, flush=True)
            subscriber.got, until = subscriber.got - until, 0


if __name__ == "__main__":
    main()
