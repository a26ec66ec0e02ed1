"""What goes over a device's links, recorded while it works: a transcript for tests and for the driver's author."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from labd import clock
from labd.io.tap import Tapped
from labd.io.transcript import Entry, Origin
from labd.lab.device import Device
from labd.lab.interlocks import GuardError

LONGEST = 24 * 3600.0  # s of one recording
MOST = 32 * 1024 * 1024  # characters of one; then it ends by itself
_WATCH = "recording"
DEEP = 4  # objects within objects that are looked through for a driver's links

_NAMED = re.compile(
    r"(?P<name>[\"']?\b[\w-]*(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|authorization|cookie)\b[\"']?\s*[:=]\s*)"
    r"(?P<quote>[\"']?)(?P<secret>(?:(?:Basic|Bearer)\s+)?[^\s\"'&;,}]+)",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"(?P<before>://[^\s/:@]*:)(?P<secret>[^\s/@]+)(?=@)")
_SECRET_SETTING = re.compile(r"pass|secret|token|key|user|login", re.IGNORECASE)


def secrets_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of settings that are secrets by their names, the longest first."""
    found = {str(value) for name, value in settings.items() if _SECRET_SETTING.search(name) and isinstance(value, str)}
    return tuple(sorted((one for one in found if len(one) >= 3), key=len, reverse=True))


def without_secrets(text: str, secrets: tuple[str, ...] = ()) -> str:
    """A text with `*` for each character of a password, token or login: as long as it was, so frames stay whole."""
    for secret in secrets:
        text = text.replace(secret, "*" * len(secret))
    text = _LOGIN.sub(lambda found: found["before"] + "*" * len(found["secret"]), text)
    return _NAMED.sub(lambda found: found["name"] + found["quote"] + "*" * len(found["secret"]), text)


def links_of(driver: object) -> list[Tapped]:
    """The links that a driver holds, also within what it is made of, in the order in which it made them."""
    found: list[Tapped] = []
    seen: set[int] = set()

    def look(thing: object, depth: int) -> None:
        if id(thing) in seen or depth > DEEP:
            return
        seen.add(id(thing))
        if isinstance(thing, Tapped):
            found.append(thing)
            return
        for value in _parts(thing):
            look(value, depth + 1)

    look(driver, 0)
    return found


def _parts(thing: object) -> Iterator[object]:
    """What an object of a driver, or a collection of such, holds."""
    if isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, (list, tuple)):
        yield from thing
    elif not type(thing).__module__.startswith(("builtins", "asyncio", "pydantic", "labd.sdk", "datetime")):
        yield from getattr(thing, "__dict__", {}).values()
        slots = (name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()))
        yield from (getattr(thing, name) for name in slots if isinstance(name, str) and hasattr(thing, name))


@dataclass(slots=True)
class _Track:
    """What one link carries."""

    link: Tapped
    entries: list[Entry] = field(default_factory=list)
    last: float | None = None


class Recording:
    """What one device's links carry from now on, until `stop`.

    Args:
        device: whose.
        by: who records.
        simulated: whether it is a simulator that speaks.
        seconds: of its caller's time; after so many it ends by itself.

    Raises:
        GuardError: its driver has no link that can be recorded, or one is recorded already.
    """

    def __init__(self, device: Device, by: str, seconds: float, *, simulated: bool) -> None:
        links = links_of(device.driver)
        if not links:
            raise GuardError(f"{device.kind} has no link that labd can record")
        if any(link.tap is not None for link in links):
            raise GuardError(f"{device.id} is being recorded already")
        self.device = device
        self.by = by
        self.simulated = simulated
        self.begun = clock.stamp()
        self.full = False
        self._size = 0
        self._secrets = secrets_of(getattr(device.driver.setup, "settings", {}))
        self._tracks = [_Track(link) for link in links]
        for track in self._tracks:
            track.link.tap = partial(self._note, track)
        # an idle device is read seldom, and there would be little to see
        device.watch(_WATCH, on=True, look=self._follow)
        self._timer = asyncio.get_running_loop().call_later(clock.of_machine(seconds), self.stop)

    @property
    def entries(self) -> int:
        """How many it holds."""
        return sum(len(track.entries) for track in self._tracks)

    @property
    def on(self) -> bool:
        """Whether it goes on."""
        return any(track.link.tap is not None for track in self._tracks)

    def _follow(self) -> None:
        """Some drivers connect with a new link each time: it takes the place of the one before."""
        held = links_of(self.device.driver)
        for track in self._tracks:
            if not any(track.link is link for link in held):
                new = next((link for link in held if link.kind == track.link.kind and link.tap is None), None)
                if new is not None:
                    track.link.tap = None
                    track.link, new.tap = new, partial(self._note, track)

    def _note(self, track: _Track, direction: str, data: bytes) -> None:
        now = clock.monotonic()
        dt = 0.0 if track.last is None else now - track.last
        track.last = now
        self._size += len(data)
        text = data.decode("latin-1")
        track.entries.append(Entry.model_validate({"dir": direction, "data": text, "dt": round(dt, 6)}))
        if self._size > MOST:
            self.full = True
            self.stop()

    def stop(self) -> None:
        """Ends it. Harmless when ended."""
        self._timer.cancel()
        self.device.watch(_WATCH, on=False)
        for track in self._tracks:
            track.link.tap = None

    def texts(self) -> list[str]:
        """The transcripts, one a link that carried anything, in the form of `labd.io.transcript`, without secrets."""
        return [self._text(track) for track in self._tracks if track.entries]

    def _text(self, track: _Track) -> str:
        about = self.device.describe()
        told: dict[str, Any] = {
            "device": about.model or self.device.kind,
            "source": f"recorded by {self.by} on {self.begun[:10]}: {self.device.kind}, {track.link.kind}",
            "version": about.firmware,
        }
        told |= {"link": track.link.kind, "recorded": not self.simulated, "settings": self._settings()}
        lines = [Origin.model_validate(told).model_dump_json(exclude_defaults=True)]
        for entry in _whole(track.entries) if track.link.kind == "stream" else track.entries:
            clean = entry.model_copy(update={"data": self._clean(track.link, entry.data)})
            lines.append(clean.model_dump_json())
        return "\n".join(lines) + "\n"

    def _settings(self) -> dict[str, Any]:
        """The driver's settings beside its address, without those that are secrets."""
        said = getattr(self.device.driver.setup, "settings", {})
        plain = {name: value for name, value in said.items() if name not in ("address", "port", "monitor")}
        return {name: value for name, value in plain.items() if not _SECRET_SETTING.search(name)}

    def _clean(self, link: Tapped, text: str) -> str:
        return text if link.kind == "modbus" else without_secrets(text, self._secrets)


def _whole(entries: list[Entry]) -> list[Entry]:
    """Pieces that came in one direction without a pause are one entry: a secret is not to be cut in two by reading."""
    found: list[Entry] = []
    for entry in entries:
        last = found[-1] if found else None
        if (
            last is not None
            and last.dir == entry.dir == "in"
            and entry.dt < 0.005
            and last.data[-1:] not in ("\n", "\r", "\0")
        ):
            found[-1] = last.model_copy(update={"data": last.data + entry.data})
        else:
            found.append(entry)
    return found
