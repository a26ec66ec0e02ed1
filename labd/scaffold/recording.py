"""The transcript of a new driver: what goes over its wire when it is told to, on its own simulator."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from labd import clock
from labd.io.transcript import Entry, Origin
from labd.sdk import Call
from labd.testing import Subject, stage

Heard = list[tuple[str, float, bytes]]


def recorded(driver: Path, simulator: Path, link: str) -> str:
    """The text of a transcript: connecting, a look, the first of its acts, a look."""
    subject = Subject("new", _module(driver).DRIVER, _module(simulator).SIMULATOR)
    heard: Heard = []
    calls: list[tuple[str] | tuple[str, dict[str, object]]] = [("connect",), ("read_state",)]

    async def told() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with stage(subject, Path(folder)) as bench:
                await bench.driver.close()
                bench.wire.tap = lambda way, data: heard.append((way, clock.monotonic(), data))
                bench.driver = subject.driver(bench.setup)
                await bench.driver.connect()
                await bench.driver.read_state()
                action, parameters = subject.acts()[0]
                first = next((dict(values) for name, values in subject.trial.acts if name == action.name), {})
                calls.append((action.name, first))
                call = Call(f"run-1-{len(calls):03d}", bench.driver.units[0])
                await bench.driver.invoke(action, parameters, call)
                calls.append(("read_state",))
                await bench.driver.read_state()

    clock.run(told(), clock.VirtualTimeline())
    kind = link if link in {"http", "modbus"} else "stream"
    if link == "opcua":  # its frames carry times and secrets of their session: there is nothing to play again
        heard.clear()
        calls.clear()
    origin = Origin.model_validate(
        {
            "device": "toy device",
            "source": "its own simulator; put what your device says in its place",
            "link": kind,
            "calls": calls,
            "own_words": [],
        }
    )
    lines = [origin.model_dump_json(exclude_defaults=True), *(_line(one) for one in _entries(heard, kind))]
    return "\n".join(lines) + "\n"


def _line(entry: Entry) -> str:
    return json.dumps(entry.model_dump(exclude_defaults=True), ensure_ascii=False)


def _module(path: Path) -> ModuleType:
    name = f"labd_scaffolded_{path.stem}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def _entries(heard: Heard, kind: str) -> Iterator[Entry]:
    last: float | None = None
    for way, at, data in _joined(heard):
        text = {"stream": _bytes, "modbus": _pdu, "http": _message}[kind](data)
        yield Entry.model_validate({"dir": way, "data": text, "dt": 0.0 if last is None else round(at - last, 6)})
        last = at


def _joined(heard: Heard) -> Iterator[tuple[str, float, bytes]]:
    """Pieces of one message put together."""
    current: tuple[str, float, bytes] | None = None
    for way, at, data in heard:
        if current is not None and current[0] == way:
            current = (way, current[1], current[2] + data)
            continue
        if current is not None:
            yield current
        current = (way, at, data)
    if current is not None:
        yield current


def _bytes(data: bytes) -> str:
    return data.decode("latin-1")


def _pdu(data: bytes) -> str:
    return data[7:].hex()


def _message(data: bytes) -> str:
    head, _, body = data.partition(b"\r\n\r\n")
    first = head.partition(b"\r\n")[0].decode("ascii").split(" ")
    what = f"{first[0]} {first[1]}" if not first[0].startswith("HTTP/") else first[1]
    said = json.dumps(json.loads(body), sort_keys=True) if body else ""
    return f"{what} {said}".strip()
