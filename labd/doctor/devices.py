"""The devices: what their drivers need, whether they answer, how quickly, and by which firmware and clock."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib.util
from collections.abc import Mapping
from shlex import quote
from typing import Any

from labd import clock
from labd.doctor.finding import Finding, ok, problem, warning
from labd.lab.bounded import bounded
from labd.lab.device import Device
from labd.sdk import About, DeviceError, Driver

CONNECT_LIMIT = 20.0  # s
OFF = 2.0  # s; a device's clock that is further off is told


def examine_packages(name: str, driver: type[Driver]) -> list[Finding]:
    """The packages that a driver imports only when it is used."""
    missing = [package for package in driver.packages if importlib.util.find_spec(package) is None]
    if not missing:
        return []
    told = ", ".join(missing)
    mend = f"pip install {' '.join(quote(driver.packages[package]) for package in missing)}"
    return [problem(name, f"its driver needs {told}, which {'is' if len(missing) == 1 else 'are'} not installed", mend)]


def examine_firmware(name: str, driver: type[Driver], firmware: str) -> list[Finding]:
    """Whether a device's firmware is the one that its driver was tried with."""
    tried = driver.quality.firmware
    if not tried or not firmware or firmware == tried:
        return []
    text = f"its firmware is {firmware}, and its driver was tried with {tried}"
    return [warning(name, text, "try what you need of it without a sample first: `labd device`")]


def told_about(about: Mapping[str, Any]) -> str:
    """Model, serial number and firmware in words."""
    words = (("", "model"), ("serial ", "serial"), ("firmware ", "firmware"))
    return ", ".join(f"{word}{about[key]}" for word, key in words if about.get(key)) or "it does not say what it is"


def examine_told(told: Mapping[str, Any], driver: type[Driver] | None, offset: float | None) -> list[Finding]:
    """A device of a daemon that runs, by what that tells of it; `offset`: s that its clock is ahead."""
    name = str(told["device"])
    if told.get("maintenance"):
        found = [ok(name, f"in maintenance by {told['maintenance']['by']}: {told['maintenance']['reason']}")]
    elif told["health"] == "ok":
        found = [ok(name, f"answers: {told_about(told)}")]
    else:
        kind = problem if told["health"] == "down" else warning
        found = [
            kind(name, f"is {told['health']}: {told['problem']}", "what its message says; `labd device " + name + "`")
        ]
    if driver is not None:
        found += examine_firmware(name, driver, str(told.get("firmware") or ""))
    return found + examine_offset(name, offset)


def examine_offset(name: str, offset: float | None) -> list[Finding]:
    """Whether a device's clock goes with the machine's."""
    if offset is None or abs(offset) <= OFF:
        return []
    way = "ahead of" if offset > 0 else "behind"
    mend = "set its clock, or have it ask the same NTP server as this machine"
    return [warning(name, f"its clock is {abs(offset):.0f} s {way} this machine's", mend)]


async def examine_device(device: Device) -> list[Finding]:
    """Opens a device, asks who it is, reads it once and closes it. Nothing is moved, nothing is switched."""
    driver, name = device.driver, device.id
    try:
        about = await bounded(driver.connect(), CONNECT_LIMIT)
        begun = clock.monotonic()
        await bounded(driver.read_state(), CONNECT_LIMIT)
        took = clock.monotonic() - begun
        offset = await offset_of(driver)
    except TimeoutError:
        return [problem(name, f"no answer within {CONNECT_LIMIT:g} s", "is it on, and is its address right?")]
    except DeviceError as error:
        return [problem(name, error.message, "what the message says; then `labd doctor` once more")]
    except Exception as error:  # noqa: BLE001 - a driver's failure is a finding, too
        return [problem(name, f"its driver failed: {error!r}", "report it to the driver's author, with a recording")]
    finally:
        await _close(driver)
    return [
        ok(name, f"answers: {told_about(_plain(about))}"),
        *_pace(device, took),
        *examine_firmware(name, type(driver), about.firmware),
        *examine_offset(name, offset),
    ]


async def _close(driver: Driver) -> None:
    with contextlib.suppress(Exception):  # what it says was told, or it is closed
        await bounded(driver.close(), CONNECT_LIMIT)


def _pace(device: Device, took: float) -> list[Finding]:
    if took <= device.poll.busy:
        return []
    text = f"reading it takes {took:.1f} s, and it is to be read every {device.poll.busy:g} s while it acts"
    mend = f"write `poll: {{busy: {took * 2:.0f} s}}` in lab.yaml, or look at its line's speed"
    return [warning(device.id, text, mend)]


async def offset_of(driver: Driver) -> float | None:
    """S that a device's clock is ahead of this machine's; None where it has none. Raises DeviceError."""
    told = await driver.time()
    return None if told is None else (told.astimezone(dt.UTC) - clock.outside()).total_seconds()


def _plain(about: About) -> dict[str, str]:
    return {"model": about.model, "serial": about.serial, "firmware": about.firmware}


async def examine_all(devices: list[Device]) -> list[Finding]:
    """All of them at a time, in the order of lab.yaml."""
    found = await asyncio.gather(*(examine_device(device) for device in devices))
    return [finding for several in found for finding in several]
