"""Examples of every message, as the contract's pages and documents show them. Made of the models, so they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from labd.lab.bus import DeviceAbout
from labd.telemetry import payloads as p
from labd.telemetry.contract import COMMANDS
from labd.telemetry.home_assistant import Birth, Discovery, HomeAssistant
from labd.telemetry.topics import Topics

BOOT = "5f0c6f0e7a"
AT = "2026-03-02T09:15:04.120385Z"
LATER = "2026-03-02T09:15:06.004211Z"

PROTOCOL = """\
labd: 1
protocol: open_press
version: 1.0.0
roles: {press: crimper}
start: open
states:
  open: {do: press.open, within: 30 s, next: done}
  done: {end: complete}
"""

_ABOUT: dict[str, Any] = {
    "driver": "plc_crimper",
    "role": "crimper",
    "model": "HSDC-20",
    "serial": "0042",
    "firmware": "3.1",
    "units": ("",),
    "actions": {
        "open": {
            "summary": "Drives the ram up.",
            "effect": "state",
            "on_loss": "continue",
            "parameters": {"type": "object", "properties": {}, "title": "OpenParameters"},
            "result": {"type": "object", "properties": {}, "title": "OpenResult"},
            "data": None,
        }
    },
    "signals": {"force": "kN", "guard_closed": ""},
    "types": {"force": "number", "guard_closed": "boolean"},
    "poll": 10.0,
}
_RUN: dict[str, Any] = {
    "protocol": "coin_cell",
    "version": "1.2.0",
    "sample": "cell-0017",
    "state": "Execute",
    "protocol_state": "crimp",
    "since": AT,
    "progress": 0.42,
    "expected_end": "2026-03-02T09:41:00.000000Z",
    "outcome": None,
    "cause": None,
    "question": None,
    "started": "2026-03-02T09:02:11.000000Z",
    "ended": None,
}
_QUESTION = {
    "id": "q-0001",
    "kind": "outcome",
    "text": "press.crimp got no answer: was the cell crimped?",
    "choices": ["done", "not done", "scrap"],
    "asked": AT,
}
_ENDED = {"state": "Complete", "protocol_state": "done", "progress": 1.0, "outcome": "complete", "ended": LATER}
_ALARM = {"severity": "problem", "about": "press", "text": "the press does not answer", "since": AT}
_POINT = {"LP57": 0.4, "DMC": 0.4, "EMC": 0.2, "volume": 600}
_CAMPAIGN: dict[str, Any] = {
    "name": "carbonate_screening",
    "version": "1.0.0",
    "state": "working",
    "why": None,
    "by": "eva",
    "since": AT,
    "started": AT,
    "optimiser": "external",
    "rounds": 1,
    "experiments": {"observed": 3, "failed": 1},
    "best": {
        "proposal": "p0003",
        "sample": "carbonate_screening-p0003",
        "run": "run-0003",
        "point": _POINT,
        "units": {"volume": "µL"},
        "values": {"mass": {"v": 0.671, "u": "g"}},
    },
    "budget": {"cells": {"used": 4, "of": 16, "unit": ""}},
    "ended": None,
}
_ASK: dict[str, Any] = {
    "ask": 2,
    "count": 4,
    "problem": {
        "space": [{"name": "volume", "type": "range", "low": 400, "high": 1200, "unit": "µL", "step": 20}],
        "constraints": ["LP57 + DMC >= 0.5"],
        "objectives": [{"name": "mass", "goal": "target", "unit": "g", "target": 0.9, "weight": 1}],
        "combine": "desirability",
        "avoid": [],
    },
    "told": [{"point": _POINT, "values": {"mass": 0.671}, "failed": False, "cause": "", "fidelity": "lab"}],
    "pending": [],
}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "start": {"protocol": PROTOCOL, "name": "open_press.yaml", "sample": "cell-0017"},
    "submit": {"protocol": PROTOCOL, "rows": [{"sample": "cell-0018"}, {"sample": "cell-0019", "priority": 5}]},
    "hold": {"run": "run-0001", "cause": "a look at the nest"},
    "unhold": {"run": "run-0001"},
    "stop": {"run": "run-0001", "cause": "the sample is not needed"},
    "abort": {"all": True, "cause": "smoke"},
    "clear": {"run": "run-0001"},
    "answer": {"run": "run-0001", "question": "q-0001", "choice": "done"},
    "cancel": {"batch": "batch-0001", "why": "wrong electrolyte"},
    "acknowledge": {"alarm": "press-down"},
    "propose": {
        "campaign": "carbonate_screening",
        "ask": 2,
        "points": [{"LP57": 0.6, "DMC": 0.3, "EMC": 0.1, "volume": 760}],
        "why": ["the middle of what is not known"],
    },
}


def _command(verb: str) -> BaseModel:
    return COMMANDS[verb].model_validate(
        {
            "command_id": f"{verb}-7d1f",
            "issued_at": "2026-03-02T09:15:04Z",
            "expires_at": "2026-03-02T09:15:14Z",
            "verb": verb,
            "arguments": _ARGUMENTS[verb],
        }
    )


def _configs() -> tuple[Discovery, Discovery]:
    """Of a device, and of a lab."""
    home = HomeAssistant(Topics("bench"), "0.1.0")
    about = {**_ABOUT, "device": "press"}
    (device,) = home.take(DeviceAbout(**about))
    lab = next(home.begin())
    return Discovery.model_validate_json(device.payload), Discovery.model_validate_json(lab.payload)


def examples() -> Mapping[str, tuple[BaseModel, ...]]:
    """By the message's name in the contract."""
    device, lab = _configs()
    alarm = p.Alarm.model_validate({**_ALARM, "acknowledged_by": None})
    job = {"job": "job-0002", "batch": "batch-0001", "protocol": "coin_cell", "sample": "cell-0018", "priority": 0}
    value = {"v": 7.8, "u": "kN", "q": "good"}
    replies = (
        {"state": "accepted"},
        {"state": "rejected", "reason": "there is no run run-0001"},
        {"state": "done", "result": {"run": "run-0001", "state": "Held", "outcome": None}},
        {"state": "failed", "reason": "run-0001 ended before it was held (complete)"},
    )
    return {
        "status": (p.Status(state="online", boot_id=BOOT, version="0.1.0", at=AT),),
        "lost": (p.LastWill(boot_id=BOOT),),
        "device_about": (p.About.model_validate(_ABOUT),),
        "device_state": (
            p.State(health="ok", problem=None, since=AT, busy_with=("run-0001",)),
            p.State(health="down", problem="connect: no answer in 3 s", since=AT, busy_with=()),
        ),
        "device_signal": (
            p.Signal.model_validate(
                {
                    "seq": 1207,
                    "boot_id": BOOT,
                    "at": AT,
                    "values": {"force": value, "guard_closed": {"v": None, "u": "", "q": "bad"}},
                }
            ),
        ),
        "run_state": (
            p.Run.model_validate(_RUN),
            p.Run.model_validate({**_RUN, "state": "Held", "expected_end": None, "question": _QUESTION}),
            p.Run.model_validate({**_RUN, **_ENDED, "expected_end": None}),
        ),
        "run_event": (
            p.RunEvent(
                seq=12, at=AT, kind="protocol.entered", data={"state": "crimp", "waited": 3.2}, hash="9c1e" * 16
            ),
        ),
        "queue": (
            p.Queue.model_validate({"jobs": [{**job, "state": "Waiting", "why": "the press is taken by run-0001"}]}),
        ),
        "campaign_state": (p.Campaign.model_validate(_CAMPAIGN),),
        "campaign_ask": (p.CampaignAsk.model_validate(_ASK),),
        "alarm": (alarm,),
        "summary": (
            p.Summary(runs=2, held=0, questions=1, waiting=14, paused=None, alarms=(alarm,), more_alarms=0, at=AT),
        ),
        **{verb: (_command(verb),) for verb in COMMANDS},
        "reply": tuple(p.Reply.model_validate({"command_id": "hold-7d1f", **reply}) for reply in replies),
        "home_assistant_device": (device,),
        "home_assistant_lab": (lab,),
        "home_assistant_status": (Birth("online"),),
    }
