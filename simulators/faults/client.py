"""`labd-sim fault`, `clear`, `power-cycle` and `devices`: a person's hand on the simulators of a lab that runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from simulators._kit.host import HostError, read_yaml
from simulators.faults.control import SOCKET

if TYPE_CHECKING:
    import httpx

COMMANDS = {
    "devices": "what runs, where, and what goes wrong there now",
    "fault": "let something go wrong with a device",
    "clear": "end faults of a device: all, or those of one name or number",
    "power-cycle": "take a device's power for some seconds",
    "story": "what has gone wrong so far",
}
_WHOLE = ("at", "for", "chance", "times")


def main(arguments: Sequence[str]) -> int:
    """One command; gives the exit status: 0, 1 refused or nobody there, 2 bad input."""
    import httpx

    options = _parser().parse_args(arguments)
    try:
        method, path, body = _asked(options)
        with _client(options) as client:
            answer = client.request(method, path, json=body)
    except HostError as error:
        sys.stderr.write(f"labd-sim: {error}\n")
        return 2
    except httpx.TransportError as error:
        sys.stderr.write(f"labd-sim: no simulators answer at {_where(options)} ({error}); start `labd-sim lab.yaml`\n")
        return 1
    told = answer.json()
    if answer.is_error:
        for one in told["errors"]:
            place = f"{one['at']}: " if one.get("at") else ""
            sys.stderr.write(f"labd-sim: {place}{one['message']}\n")
            if one.get("mend"):
                sys.stderr.write(f"      → {one['mend']}\n")
        return 2 if answer.status_code == 422 else 1
    sys.stdout.write("".join(f"{line}\n" for line in _told(options.command, told)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labd-sim")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        command.add_argument("--lab", type=Path, default=Path("lab.yaml"), help="whose simulators (default: lab.yaml)")
        command.add_argument("--control", metavar="HOST:PORT", help="where they are told to listen, instead")
        if name in ("fault", "clear", "power-cycle"):
            command.add_argument("device", metavar="DEVICE")
        if name == "devices":
            command.add_argument("device", metavar="DEVICE", nargs="?", help="one of them, with all that it knows")
        if name == "fault":
            command.add_argument("name", metavar="FAULT")
            command.add_argument(
                "values",
                metavar="KEY=VALUE",
                nargs="*",
                help="at='10 s', after='3 requests', chance=0.02, for='30 s', times=1, and what the fault takes",
            )
        if name == "clear":
            command.add_argument("name", metavar="FAULT", nargs="?")
        if name == "power-cycle":
            command.add_argument("--off", default="5 s", help="how long (default: 5 s)")
    return parser


def _asked(options: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
    match options.command:
        case "devices":
            return "GET", f"/v1/devices/{quote(options.device)}" if options.device else "/v1/devices", None
        case "story":
            return "GET", "/v1/story", None
    path = f"/v1/devices/{quote(options.device, safe='')}"
    match options.command:
        case "fault":
            return "POST", f"{path}/faults", body_of(options.name, options.values)
        case "clear":
            return "DELETE", f"{path}/faults" + (f"/{quote(options.name, safe='')}" if options.name else ""), None
    return "POST", f"{path}/power-cycle", {"off": options.off}


def body_of(fault: str, values: Sequence[str]) -> dict[str, Any]:
    """What a person typed, as the file's language has it. Raises HostError."""
    body: dict[str, Any] = {"fault": fault}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals:
            raise HostError(f"{text!r} is no KEY=VALUE; write `times=1`, `for='30 s'`")
        if key == "after":
            count, _, of = value.partition(" ")
            body["after"] = {"count": _read(count), **({"of": of.strip()} if of else {})}
        elif key in _WHOLE:
            body[key] = _read(value)
        else:
            body.setdefault("with", {})[key] = _read(value)
    return body


def _read(text: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text


def _client(options: argparse.Namespace) -> httpx.Client:
    import httpx

    if options.control:
        return httpx.Client(base_url=f"http://{options.control}", timeout=10, trust_env=False)
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(_socket(options.lab))), base_url="http://simulators")


def _socket(lab: Path) -> Path:
    store = read_yaml(lab).get("store")
    if not store:
        raise HostError(f"{lab}: `store` is missing")
    return (lab.resolve().parent / str(store) / "simulators" / SOCKET).resolve()


def _where(options: argparse.Namespace) -> str:
    return str(options.control or _socket(options.lab))


def _told(command: str, answer: Mapping[str, Any]) -> list[str]:
    match command:
        case "devices":
            return [line for one in answer.get("devices", [answer]) for line in _device(one)]
        case "fault":
            return [f"{answer['fault']} is number {answer['id']}: {_fault(answer)}"]
        case "clear":
            count = answer["cleared"]
            return [f"{count} fault{'s' * (count != 1)} ended"]
        case "story":
            return [f"{one['at']:>10.1f} s  {one['device']}: {one['fault']} {one['what']}" for one in answer["story"]]
    return [f"{answer['name']} is off, and will be on again"]


def _device(one: Mapping[str, Any]) -> list[str]:
    where = one.get("address") or one.get("port")
    at = f" at {where}" if where else ""
    lines = [f"{one['name']}: {one['kind']}{at}{'' if one['powered'] else ', without power'}"]
    lines += [f"  {fault['id']}  {fault['fault']}: {_fault(fault)}" for fault in one["faults"]]
    for word, its in one.get("knows", {}).items():
        takes = "".join(f"; {key}: {about}" for key, about in its.get("with", {}).items())
        lines.append(f"  {word:<14} {its['about']}{takes}")
    return lines


def _fault(one: Mapping[str, Any]) -> str:
    """How it stands, in words."""
    units, after = one.get("units", {}), one.get("after")
    said = [
        " ".join(filter(None, (key, f"{_plain(value)}", units.get(key)))) for key, value in one.get("with", {}).items()
    ]
    said += [f"{key} {one[key]:g} s" for key in ("at", "for") if key in one]
    if after is not None:
        which = f" matching {after['matching']}" if "matching" in after else ""
        said.append(f"after {after['count']} {after['of']}{which}")
    said += [f"{key} {one[key]:g}" for key in ("chance",) if key in one]
    said += [f"{one['times']} times at most"] if "times" in one else []
    return ", ".join([one["state"], *said, f"so far {_times(one['happened'])}"])


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
