"""The genealogy of a sample: what went into it, what was done to it and came of it, from all of its runs. Pure.

Quantities are as the journal has them, `{"v": 35.0, "u": "µL"}`; durations are plain numbers in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from labd.journal import Event
from labd.records.trace import Stocked, Told, Trace, between

KINDS = frozenset(
    {
        "run.started",
        "run.state",
        "run.ended",
        "protocol.decided",
        "action.intended",
        "action.sent",
        "action.done",
        "action.failed",
        "action.unknown",
        "action.reconciled",
        "question.asked",
        "question.answered",
        "question.expired",
        "question.withdrawn",
        "sample.registered",
        "sample.noted",
        "sample.moved",
        "part.moved",
        "stock.spent",
        "stock.corrected",
    }
)
"""The kinds of events that a genealogy is made of."""

MEASURES = frozenset({"open_circuit", "constant_current", "constant_voltage", "cyclic_voltammetry", "impedance"})
_STANDS = frozenset({"Held", "Suspended", "Stopped", "Aborted"})


def genealogy(sample: str, events: Iterable[Event], stocked: Mapping[str, Stocked] | None = None) -> Told:
    """All that the journal says of one sample.

    Args:
        sample: its id.
        events: of its runs, and those outside of them that speak of it, oldest first.
        stocked: what lab.yaml says of places now; used where no event tells a part's or a liquid's name and lot.
    """
    trace = Trace(sample, stocked or {})
    for event in events:
        fold = _FOLDS.get(event.kind)
        if fold is not None:
            fold(trace, event)
    return trace.told()


# ── what it is, where it is, its runs ────────────────────────────────────────────────────────────────────────────
def _noted(trace: Trace, event: Event) -> None:
    data = {name: value for name, value in event.data.items() if name not in ("sample", "by", "note")}
    if isinstance(data.get("active_mass"), (int, float)):
        data["active_mass"] = {"v": data["active_mass"], "u": "g"}
    told = {"at": event.at, "by": event.data.get("by"), "kind": event.kind, "said": data}
    trace.notes.append({**told, "note": event.data.get("note")})


def _moved(trace: Trace, event: Event) -> None:
    data = event.data
    if data["sample"] != trace.sample:
        return
    trace.place = data["to"]
    trace.left = {"at": event.at, "by": data.get("by")} if data["to"] is None else None
    trace.moves.append({"at": event.at, "run": event.run, "from": data["from"], "to": data["to"], "by": data.get("by")})


def _started(trace: Trace, event: Event) -> None:
    data = event.data
    names = ("protocol", "version", "by", "parameters", "batch", "job")
    run = {"run": event.run, **{name: data.get(name) for name in names}}
    trace.runs[str(event.run)] = {**run, "started": event.at, "ended": None, "outcome": None, "cause": None}
    if trace.place is None and trace.left is None:
        trace.place = data.get("home") or None


def _state(trace: Trace, event: Event) -> None:
    data = event.data
    run = trace.runs.get(str(event.run))
    if run is None:
        return
    if data["to"] in _STANDS and data.get("cause"):
        run["cause"] = data["cause"]
        text = f"{data['to'].lower()}: {data['cause']}"
        trace.remarks.append({"at": event.at, "run": event.run, "text": text, "by": data.get("by")})
    elif data["to"] == "Execute":
        run["cause"] = None


def _decided(trace: Trace, event: Event) -> None:
    """A time window was broken: when, and which. Other decisions are the protocol's own affair."""
    data = event.data
    what = str(data.get("what") or "")
    if what.startswith("window ") and data.get("value") == "expired":
        text = f"{what}: {data.get('because') or 'expired'}"
        trace.remarks.append({"at": event.at, "run": event.run, "text": text, "by": None})


def _ended(trace: Trace, event: Event) -> None:
    run = trace.runs.get(str(event.run))
    if run is not None:
        run.update(ended=event.at, outcome=event.data["outcome"])
        run["cause"] = event.data.get("cause") or run["cause"]


# ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _intended(trace: Trace, event: Event) -> None:
    names = ("action_id", "device", "unit", "role", "action", "effect", "state", "parameters")
    told = {name: event.data.get(name) for name in names}
    told["parameters"] = told["parameters"] or {}
    trace.actions[str(told["action_id"])] = {**told, "run": event.run, "sent": None, "ended": None, "outcome": None}


def _sent(trace: Trace, event: Event) -> None:
    action = trace.actions.get(str(event.data.get("action_id")))
    if action is not None:
        action["sent"] = event.at


def _settled(trace: Trace, event: Event) -> None:
    """An action's outcome, as its device or a person said it."""
    data = event.data
    action = trace.actions.get(str(data.get("action_id")))
    if action is None:
        return
    name = f"{action['device']}.{action['action']}"
    match event.kind:
        case "action.reconciled":
            verdict, by = str(data["verdict"]), data.get("by")
            text = f"{name}: {verdict.replace('_', ' ')}"
            trace.remarks.append({"at": event.at, "run": event.run, "text": text, "by": by})
        case "action.done":
            verdict, by = "done", None
        case _:
            verdict, by = event.kind.partition(".")[2], None
            text = f"{name}: {verdict}: {data.get('message')}"
            trace.remarks.append({"at": event.at, "run": event.run, "text": text, "by": None})
    if verdict == "unknown":
        return
    action.update(ended=event.at, outcome=verdict, result=data.get("result") or {}, settled_by=by)
    if verdict == "done":
        _did(trace, action)


def _did(trace: Trace, action: Told) -> None:
    """What an action that was done says of the sample."""
    kind = _KEPT.get(str(action["action"]), _step)(trace, action)
    if action["effect"] == "state" and kind == "other":
        return
    before = trace.steps[-1] if trace.steps else None
    names = ("run", "state", "action_id", "device", "unit", "action", "sent", "ended", "settled_by")
    step = {"kind": kind, **{name: action[name] for name in names}}
    step["seconds"] = between(action["sent"], action["ended"])
    step["since"] = between(before["ended"], action["ended"]) if before is not None else None
    trace.steps.append(step)


def _keep(trace: Trace, name: str, action: Told, **more: Any) -> None:
    """An entry of one of the lists."""
    names = ("run", "action_id", "device", "unit", "action")
    at = {"at": action["ended"], "sent": action["sent"], **{key: action[key] for key in names}}
    trace.found.setdefault(name, []).append({**at, **more, "settled_by": action["settled_by"]})


def _step(trace: Trace, action: Told) -> str:
    if action["action"] in MEASURES:
        _keep(trace, "measurements", action, parameters=action["parameters"], result=action["result"])
        return str(action["action"])
    return "other"


def _dose(trace: Trace, action: Told) -> str:
    """A transfer into the place of the sample; any other is a rinse or a mixture, and told as that."""
    asked, result = action["parameters"], action["result"]
    destination = result.get("destination") or asked.get("destination")
    own = trace.place is None or destination == trace.place
    source = asked.get("source") or result.get("source")
    volume = result.get("volume") or asked.get("volume")
    ids = [action["action_id"]]
    more = {"what": None, "lot": None, "lot_by": None, "source": source, "action_ids": ids}
    if not own:
        more["to"] = destination
    _keep(trace, "doses" if own else "transfers", action, **more, asked=asked.get("volume"), volume=volume)
    return "dose" if own else "other"


def _pumped(trace: Trace, action: Told) -> str:
    """What a pump gave while the sample lay at its outlet; anything else went to waste or into a flask."""
    asked, volume = action["parameters"].get("volume"), action["result"].get("volume")
    if not (trace.place or "").startswith(f"{action['device']}/"):
        return "other"
    more = {"what": None, "lot": None, "lot_by": None, "source": action["device"], "action_ids": [action["action_id"]]}
    _keep(trace, "doses", action, **more, asked=asked, volume=volume or asked)
    return "dose"


def _weighed(trace: Trace, action: Told) -> str:
    result = action["result"]
    _keep(trace, "masses", action, state=action["state"], mass=result.get("mass"), stable=result.get("stable"))
    return "weigh"


def _crimped(trace: Trace, action: Told) -> str:
    asked, result = action["parameters"], action["result"]
    _keep(trace, "forces", action, asked=asked.get("force"), peak=result.get("peak_force"), dwell=result.get("dwell"))
    return "crimp"


def _cycled(trace: Trace, action: Told) -> str:
    asked, result = action["parameters"], action["result"]
    names = ("c_rate", "capacity", "active_mass", "specific_capacity", "upper", "lower", "cycles")
    given = {name: asked.get(name) for name in names}
    given["rated_capacity"] = given.pop("capacity")
    gave = {name: result.get(name) for name in ("capacities", "coulombic_efficiencies", "capacity", "reason")}
    current = result.get("current") or asked.get("current")
    _keep(trace, "cycling", action, current=current, **given, **gave)
    return "cycle"


def _handled(trace: Trace, action: Told) -> str:
    trace.last[str(action["device"])] = action
    return "other"


_KEPT: dict[str, Callable[[Trace, Told], str]] = {
    "transfer": _dose,
    "dispense": _pumped,
    "weigh": _weighed,
    "crimp": _crimped,
    "cycle": _cycled,
    "pick": _handled,
    "place": _handled,
}


# ── parts and stock ──────────────────────────────────────────────────────────────────────────────────────────────
def _part_moved(trace: Trace, event: Event) -> None:
    """The arm took a part for the sample, or set it down: on the sample where it did so at the sample's place."""
    gripper = str(event.data["place"])
    if event.data["sample"] != trace.sample:
        return
    action = trace.last.get(gripper.partition("/")[0])
    if action is None:
        return
    place = action["parameters"].get("place")
    if event.data["held"]:
        trace.lifted[gripper] = {"source": place, "ids": [action["action_id"]], "at": event.at}
        return
    lifted = trace.lifted.pop(gripper, None)
    if lifted is None:
        return
    ids = [*lifted["ids"], action["action_id"]]
    named = _by_parameter(trace, str(event.run), lifted["source"])
    more = {"what": named, "lot": None, "lot_by": None, "source": lifted["source"], "to": place, "action_ids": ids}
    _keep(trace, "parts", action, **more, taken=lifted["at"], on_sample=place == trace.place)
    if place == trace.place and trace.steps:
        trace.steps[-1]["kind"] = "part"


def _by_parameter(trace: Trace, run: str, place: str | None) -> str | None:
    """The name of the run's parameter that names a place: `anode`."""
    parameters = trace.runs.get(run, {}).get("parameters") or {}
    return next((name for name, value in parameters.items() if place and value == place), None)


def _spent(trace: Trace, event: Event) -> None:
    data = event.data
    if data.get("sample") not in (None, trace.sample):
        return
    portions = data.get("portions") or []
    what = data.get("what") or data.get("name") or _joined(portion.get("material") for portion in portions)
    lot = data.get("lot") or _joined(portion.get("lot") for portion in portions)
    names = ("thing", "place", "wells", "amount", "unit", "action_id")
    told = {"what": what, "lot": lot, **{name: data.get(name) for name in names}}
    corrected = event.kind == "stock.corrected"
    used = {"at": event.at, "run": event.run or data.get("run"), **told, "corrected": corrected}
    trace.spent.append(used)
    if used["thing"] == "part" and used["action_id"] is None and not corrected:
        _began_as(trace, used)


def _began_as(trace: Trace, used: Told) -> None:
    """A part that nobody carried to the sample, since it is what the sample was at first: a half cell on its tray."""
    nobody = dict.fromkeys(("sent", "action_id", "device", "unit", "action", "taken", "settled_by"))
    known = {"what": used["what"], "lot": used["lot"], "lot_by": "journal", "source": used["place"]}
    part = {"at": used["at"], "run": used["run"], **nobody, **known, "to": used["place"], "on_sample": True}
    trace.found.setdefault("parts", []).append({**part, "action_ids": []})


def _joined(names: Iterable[Any]) -> str | None:
    return " + ".join(dict.fromkeys(str(name) for name in names if name)) or None


# ── questions ────────────────────────────────────────────────────────────────────────────────────────────────────
def _asked(trace: Trace, event: Event) -> None:
    data = event.data
    told = {name: data.get(name) for name in ("kind", "text", "choices")}
    told["unit"] = (data.get("input") or {}).get("unit") or None
    more = {"answered": None, "end": None, "choice": None, "value": None, "by": None}
    trace.questions[data["question_id"]] = {"id": data["question_id"], "run": event.run, "at": event.at, **told, **more}


def _answered(trace: Trace, event: Event) -> None:
    question = trace.questions.get(str(event.data.get("question_id")))
    if question is not None:
        told = {name: event.data.get(name) for name in ("choice", "value", "by")}
        if question["unit"] and isinstance(told["value"], (int, float)):
            told["value"] = {"v": told["value"], "u": question["unit"]}
        question.update(told, answered=event.at, end=event.kind.partition(".")[2])


_FOLDS: dict[str, Callable[[Trace, Event], None]] = {
    "run.started": _started,
    "run.state": _state,
    "run.ended": _ended,
    "protocol.decided": _decided,
    "action.intended": _intended,
    "action.sent": _sent,
    "action.done": _settled,
    "action.failed": _settled,
    "action.unknown": _settled,
    "action.reconciled": _settled,
    "question.asked": _asked,
    "question.answered": _answered,
    "question.expired": _answered,
    "question.withdrawn": _answered,
    "sample.registered": _noted,
    "sample.noted": _noted,
    "sample.moved": _moved,
    "part.moved": _part_moved,
    "stock.spent": _spent,
    "stock.corrected": _spent,
}
