"""Reading lab.yaml: the same care as for protocols, everything that does not hold told at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from labd import clock
from labd.expr import did_you_mean
from labd.files import InputErrors, Reader, Source, read_file
from labd.files.shapes import short
from labd.lab.access import check_access
from labd.lab.deck import DeckEntry, check_deck
from labd.lab.findings import Findings
from labd.lab.models import Broker, DeviceConfig, Interlock, LabConfig, LabError, Mqtt, lab_schema
from labd.lab.secrets import secrets_of
from labd.lab.shapes import tell_flaws
from labd.lab.written import Part

LANGUAGE = 1

_P = TypeVar("_P", bound=Part)


@dataclass(frozen=True, slots=True)
class Draft:
    """A lab.yaml as far as it can be understood, with all that is wrong with it in `findings`.

    Args:
        config: the whole, when its shape is right.
        devices, deck, roles, interlocks: the parts whose own shape is right; entries of deck and interlocks by number.
        names: of all devices, also of those that cannot be understood.
    """

    source: Source
    base: Path
    config: LabConfig | None
    findings: Findings
    devices: Mapping[str, DeviceConfig] = field(default_factory=dict)
    deck: Mapping[int, DeckEntry] = field(default_factory=dict)
    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Sequence[str] = ()
    interlocks: Mapping[int, Interlock] = field(default_factory=dict)


def load_lab(path: Path) -> LabConfig:
    """Reads lab.yaml; drivers are not asked yet: `labd.lab.check.check_lab` does.

    Raises:
        InputErrors: it cannot be read, or says what does not hold; all errors at once.
    """
    draft = read_lab(path)
    warnings = draft.findings.settle()
    assert draft.config is not None
    return draft.config.read_from(draft.source, draft.base, warnings)


def read_lab(path: Path) -> Draft:
    """Reads as much of lab.yaml as can be understood. Raises InputErrors where there is nothing to speak of."""
    source = Source(str(path), read_file(path))
    reader = Reader(source)
    try:
        tree = reader.read()
    except InputErrors as errors:
        raise InputErrors(secrets_of(source, whole=False).shown(errors.problems, source.text)) from None
    secrets = secrets_of(source, whole=not reader.problems)
    findings = Findings(source, secrets.shown(reader.problems, source.text), secrets.in_message)
    source.text = secrets.in_text(source.text)  # from here on it is only shown
    _check_head(tree, findings)
    config: LabConfig | None = None
    try:
        config = LabConfig.model_validate(tree)
    except ValidationError as error:
        tell_flaws(findings, error, LabConfig, tree)
    base = path.resolve().parent
    draft = _parts(tree, source, base, findings) if config is None else _whole(config, source, base, findings)
    check_deck(draft.deck, findings, clock.now().date())
    if config is not None:
        _check_clock(config, findings)
        _check_interlocks(config, findings)
        check_access(config.mqtt, config.users, base, findings)
    return draft


def _check_head(tree: Any, findings: Findings) -> None:
    """A file that is no lab, or of another version, is told so and nothing else."""
    mend = f"lab.yaml begins with `labd: {LANGUAGE}`, `lab: its-name`"
    if not isinstance(tree, dict):
        findings.tell("L103", "the file is empty" if tree is None else "this is no lab", (), mend)
        raise InputErrors(findings.problems)
    if "labd" not in tree:
        hint = " (this is a protocol)" if "states" in tree else ""
        findings.tell("L102", f"`labd`, the version of the file, is missing{hint}", (), mend)
        raise InputErrors(findings.problems)
    if "protocol" in tree and "devices" not in tree:
        findings.tell("L103", "this is a protocol, no lab", ("protocol",), mend, key=True)
        raise InputErrors(findings.problems)
    version = tree["labd"]
    if isinstance(version, bool) or not isinstance(version, int) or version != LANGUAGE:
        message = f"this labd knows version {LANGUAGE} of lab.yaml, not `{short(version)}`"
        findings.tell("L106", message, ("labd",), f"write `labd: {LANGUAGE}`")
        raise InputErrors(findings.problems)


def _whole(config: LabConfig, source: Source, base: Path, findings: Findings) -> Draft:
    deck = dict(enumerate(config.deck))
    interlocks = dict(enumerate(config.interlocks))
    return Draft(source, base, config, findings, config.devices, deck, config.roles, tuple(config.devices), interlocks)


def _parts(tree: dict[str, Any], source: Source, base: Path, findings: Findings) -> Draft:
    """What can be understood of a lab whose shape is not right in whole: its other errors are told with the first."""
    raw = tree.get("devices")
    devices = raw if isinstance(raw, dict) else {}
    roles = tree.get("roles")
    sound_devices = ((name, _sound(DeviceConfig, one)) for name, one in devices.items())
    return Draft(
        source,
        base,
        None,
        findings,
        {name: device for name, device in sound_devices if device is not None},
        _sound_list(DeckEntry, tree.get("deck")),
        {
            role: names
            for role, names in (roles.items() if isinstance(roles, dict) else ())
            if isinstance(names, list) and all(isinstance(name, str) for name in names)
        },
        tuple(devices),
        _sound_list(Interlock, tree.get("interlocks")),
    )


def _sound_list(model: type[_P], raw: Any) -> dict[int, _P]:
    """The entries of a list whose own shape is right, by their number."""
    found = ((number, _sound(model, one)) for number, one in enumerate(raw if isinstance(raw, list) else ()))
    return {number: one for number, one in found if one is not None}


def _sound(model: type[_P], raw: Any) -> _P | None:
    try:
        return model.model_validate(raw)
    except ValidationError:
        return None


def _check_clock(config: LabConfig, findings: Findings) -> None:
    if config.clock != "virtual":
        return
    real = [name for name, device in config.devices.items() if device.simulator is None]
    if real:
        has = f"{', '.join(real)} {'has' if len(real) == 1 else 'have'} no `simulator`"
        findings.tell("L207", f"virtual time is for simulated labs only; {has}", ("clock",), "write `clock: real`")
    if config.mqtt is not None and isinstance(config.mqtt.broker, Broker):
        message = "a broker outside cannot follow virtual time"
        findings.tell("L207", message, ("clock",), "write `clock: {scaled: 60}`, or `broker: embedded`")


def _check_interlocks(config: LabConfig, findings: Findings) -> None:
    seen: set[str] = set()
    for number, interlock in enumerate(config.interlocks):
        at = ("interlocks", number)
        if interlock.name in seen:
            findings.tell("L302", f"the interlock `{interlock.name}` stands twice", (*at, "name"), "name it otherwise")
        seen.add(interlock.name)
        for index, device in enumerate(interlock.devices or ()):
            if device not in config.devices:
                mend = did_you_mean(device, config.devices, "there is")
                findings.tell("L204", f"there is no device `{device}`", (*at, "devices", index), mend)


__all__ = [
    "Broker",
    "DeckEntry",
    "DeviceConfig",
    "Draft",
    "LabConfig",
    "LabError",
    "Mqtt",
    "lab_schema",
    "load_lab",
    "read_lab",
]
