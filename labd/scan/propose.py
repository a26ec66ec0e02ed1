"""A lab.yaml for what a scan has found: what is certain stands in it, what is not as comments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from labd.scan.found import Candidate, Found
from labd.scan.kinds import Kinds
from labd.sdk import About, Driver


def propose(found: Sequence[Found], kinds: Kinds, lab: str = "my-lab") -> str:
    """The file's text, which `labd check --lab` takes.

    Args:
        found: by a scan.
        kinds: the drivers.
        lab: its name.
    """
    lines = [
        "# Proposed by `labd scan`. What was not asked, or did not say what it is, stands in comments: take the `#`",
        "# away where the driver is right. Then: labd check --lab lab.yaml; labd doctor",
        "labd: 1",
        f"lab: {lab}",
        "store: store   # /var/lib/labd where the service runs",
        "",
    ]
    numbers: defaultdict[str, int] = defaultdict(int)
    certain: list[str] = []
    open_: list[str] = []
    for one in found:
        if one.identified and _lacking(kinds.drivers[one.candidates[0].driver], one.candidates[0]) == []:
            certain += _entry(one, numbers, kinds)
        else:
            open_ += _comment(one, numbers, kinds)
    lines += ["devices:", *certain] if certain else ["devices: {}"]
    if open_:
        lines += [
            "",
            "# Found, and not certain what it is" + ("; under `devices:`" if certain else ", in place of `{}`:"),
        ]
        lines += open_
    return "\n".join(lines) + "\n"


def _name(driver: str, numbers: dict[str, int]) -> str:
    numbers[driver] += 1
    return driver if numbers[driver] == 1 else f"{driver}{numbers[driver]}"


def _entry(one: Found, numbers: dict[str, int], kinds: Kinds) -> list[str]:
    candidate = one.candidates[0]
    head = f"  {_name(candidate.driver, numbers)}:"
    about = _words(one.about) if one.about is not None else one.what
    return [f"  # {one.where}: {_plain(about)}", head, *_body(candidate, kinds)]


def _body(candidate: Candidate, kinds: Kinds, indent: str = "    ") -> list[str]:
    cls = kinds.drivers[candidate.driver]
    settings = f"{{{_key(cls)}: {_quoted(candidate.address)}}}"
    lines = [f"{indent}driver: {candidate.driver}", f"{indent}settings: {settings}"]
    lacking = _lacking(cls, candidate)
    return lines + ([f"{indent}# its settings need besides: {', '.join(lacking)}"] if lacking else [])


def _comment(one: Found, numbers: dict[str, int], kinds: Kinds) -> list[str]:
    problem = f"; {one.problem}" if one.problem else ""
    lines = [f"  # {one.where}: {_plain(one.what)}{_plain(problem)}"]
    if len(one.candidates) > 1:
        lines.append(f"  #   one of {', '.join(candidate.driver for candidate in one.candidates)}, only one of them:")
    for candidate in one.candidates:
        lines.append(f"  #  {_name(candidate.driver, numbers)}:")
        lines += [f"  #  {line}" for line in _body(candidate, kinds, "  ")]
    if not one.candidates:
        lines.append("  #   no driver that is installed looks for its devices there")
    return lines


def _key(cls: type[Driver]) -> str:
    return "address" if "address" in cls.Settings.model_fields else "port"


def _lacking(cls: type[Driver], candidate: Candidate) -> list[str]:
    """The settings that a driver needs besides the address."""
    try:
        cls.Settings.model_validate({_key(cls): candidate.address})
    except ValidationError as error:
        return [".".join(map(str, one["loc"])) or one["msg"] for one in error.errors()]
    return []


def _words(about: About) -> str:
    told: Mapping[str, Any] = about.model_dump()
    marks: Iterable[tuple[str, str]] = (("model", ""), ("serial", "serial "), ("firmware", "firmware "))
    return ", ".join(f"{mark}{told[key]}" for key, mark in marks if told[key])


def _plain(text: str) -> str:
    """A text in one line of a comment."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:200]


def _quoted(address: str) -> str:
    return '"' + address.replace("\\", "\\\\").replace('"', '\\"') + '"'
