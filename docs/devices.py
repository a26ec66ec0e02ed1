"""The page of devices: every driver that ships, as it declares itself."""  # noqa: INP001

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel
from tables import table

from labd.lab.equipment import find_driver, known_drivers
from labd.sdk import ROLES, Driver

LINKS = {
    "labd.io.serial": "serial",
    "labd.io.address": "serial, tcp",
    "labd.io.tcp": "tcp",
    "labd.io.http": "http",
    "labd.io.modbus": "modbus",
    "labd.io.opcua": "opcua",
    "labd.io.visa": "visa",
}
"""What a driver that imports a module of labd.io is connected by."""

_INTRO = """\
The drivers that ship, as they declare themselves; `labd devices NAME` tells the same of a device of your lab. Each
holds the contract of drivers (`pytest --labd-driver NAME`), and has a grade:

- **draft**: it is there, and its declarations are whole;
- **simulated**: it holds the contract on a simulator that was written from the device's facts;
- **recorded**: and it replays what was recorded of a real device, or of its vendor's own software;
- **hardware-verified**: and it was tried on the device itself, on a day, with a firmware.

A driver that is not verified on hardware says what it was written from; try it with nothing at stake first. How to
write one: [add a driver](../how-to/add-a-driver.md)."""


def devices() -> Iterator[str]:
    """The page, part by part."""
    yield "# Devices"
    yield _INTRO
    found = {name: find_driver(name) for name in known_drivers() if find_driver(name).__module__.startswith("drivers")}
    rows = (f"| [{name}](#{name}) | {one.role} | {links(name)} | {one.quality} |" for name, one in found.items())
    yield "\n".join(["| driver | role | link | quality |", "|---|---|---|---|", *rows])
    for name, driver in found.items():
        yield from _driver(name, driver)


def _driver(name: str, driver: type[Driver]) -> Iterator[str]:
    yield f"## {name}"
    yield inspect.getdoc(importlib.import_module(f"drivers.{name}")) or ""
    simulator = "there is one" if find_spec(f"simulators.{name}") is not None else "there is none"
    role = f"[`{driver.role}`](roles.md#{driver.role})"
    yield f"Role: {role}. Link: {links(name)}. Quality: {driver.quality}. Simulator: {simulator}."
    if driver.quirks:
        yield "\n".join(f"- {quirk}" for quirk in driver.quirks)
    yield from filter(None, [inspect.getdoc(driver.Settings) and _arguments(driver.Settings)])
    yield from table("setting", driver.Settings)
    lines = ["| action | effect | own parameters | what it does |", "|---|---|---|---|"]
    for action in driver.actions.values():
        own = ", ".join(f"`{one}`" for one in _own(driver, action.name))
        lines.append(f"| `{action.name}` | {action.effect.value} | {own} | {action.summary} |")
    yield "\n".join(lines)
    yield from table("signal", driver.Signals)


def _own(driver: type[Driver], action: str) -> list[str]:
    """The parameters that its role does not have."""
    role = ROLES.get(driver.role)
    known = role.actions[action].parameters.model_fields if role is not None and action in role.actions else {}
    return [name for name in driver.actions[action].parameters.model_fields if name not in known]


def _arguments(settings: type[BaseModel]) -> str:
    """A docstring of settings with its arguments as a list."""
    doc = inspect.getdoc(settings) or ""
    words, found, arguments = doc.partition("Args:\n")
    if not found:
        return words.strip()
    lines: list[str] = []
    for line in inspect.cleandoc(arguments).splitlines():
        if line and not line.startswith(" "):
            name, _, text = line.partition(":")
            lines.append(f"- {', '.join(f'`{one.strip()}`' for one in name.split(','))}:{text}")
        elif line:
            lines[-1] += f" {line.strip()}"
    return f"{words.strip()}\n\n" + "\n".join(lines)


def links(name: str) -> str:
    """What a driver is connected by: as the links that it imports."""
    home = importlib.import_module(importlib.import_module(f"drivers.{name}").DRIVER.__module__)
    assert home.__file__ is not None
    path = Path(home.__file__)
    files = [path] if home.__package__ == "drivers" else sorted(path.parent.glob("*.py"))
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    found = {link for module, links in LINKS.items() if module in imported for link in links.split(", ")}
    return ", ".join(sorted(found)) or "none"
