"""A run's journal told as a story: where it went and why, what was done and what came of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from labd.cli.words import duration, named_values, seconds_between, value_text

Event = Mapping[str, Any]
Kind = Literal["run", "state", "decision", "action", "question", "sample", "note"]
Tone = Literal["plain", "good", "bad", "waits"]


_TOLD = {"Execute", "Held", "Suspended", "Stopped", "Aborted"}


@dataclass(slots=True)
class Entry:
    """One line of the story; an action's line grows as its events come."""

    at: str
    kind: Kind
    text: str
    tone: Tone = "plain"
    came: str = ""  # what came of it


def explain(events: Iterable[Event]) -> list[Entry]:
    """Entries in the order of the journal; an action is one entry, at the time of its intent."""
    story = _Story()
    for event in events:
        story.take(event)
    return story.entries


class _Story:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._actions: dict[str, Entry] = {}
        self._early: dict[str, str] = {}  # why an action was called off, by its id: its outcome is still to come
        self._questions: dict[str, Entry] = {}
        self._tellers: dict[str, Callable[[Event, Mapping[str, Any]], Entry | None]] = {
            "run.started": _started,
            "run.state": _state,
            "run.ended": _ended,
            "protocol.entered": _entered,
            "protocol.decided": _decided,
            "protocol.ended": _protocol_ended,
            "action.intended": self._intended,
            "action.sent": self._follow,
            "action.accepted": self._follow,
            "action.done": self._follow,
            "action.failed": self._follow,
            "action.cancelled": self._follow,
            "action.left": self._follow,
            "action.unknown": self._follow,
            "action.reconciled": self._follow,
            "action.refused": _refused,
            "question.asked": self._asked,
            "question.answered": self._answered,
            "question.expired": self._answered,
            "question.withdrawn": self._answered,
            "sample.moved": _moved,
            "part.moved": _part_moved,
            "device.safe_state": _made_safe,
            "cleanup.started": _cleaned,
            "cleanup.ended": _cleaned,
            "command.accepted": _commanded,
            "run.resumed": _resumed,
        }

    def take(self, event: Event) -> None:
        entry = self._tellers.get(event["kind"], _other)(event, event["data"])
        if entry is not None:
            self.entries.append(entry)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _intended(self, event: Event, data: Mapping[str, Any]) -> Entry:
        unit = f".{data['unit']}" if data.get("unit") else ""
        values = named_values(data.get("parameters") or {})
        again = f" (attempt {data['attempt']})" if data.get("attempt", 1) > 1 else ""
        text = f"{_branch(data)}{data['device']}{unit}.{data['action']}{' ' if values else ''}{values}{again}"
        entry = Entry(event["at"], "action", text, "waits", "intended; nothing more is known")
        self._actions[data["action_id"]] = entry
        return entry

    def _follow(self, event: Event, data: Mapping[str, Any]) -> Entry | None:
        entry = self._actions.get(data["action_id"])
        if entry is None:
            return _other(event, data)
        took = duration(seconds_between(entry.at, event["at"]))
        result = named_values(data.get("result") or {})
        match event["kind"]:
            case "action.sent":
                entry.came = "sent; no outcome yet"
            case "action.accepted":
                entry.came = "accepted; under way"
            case "action.done":
                early = self._early.get(data["action_id"], "")
                entry.tone, entry.came = "good", f"{early}done in {took}{': ' if result else ''}{result}"
            case "action.failed":
                entry.tone, entry.came = "bad", f"failed after {took}: {data['error']}: {data['message']}"
            case "action.cancelled":
                because = f" ({data['because']})" if data.get("because") else ""
                entry.came = f"ended early after {took}{because}; ends in order"
                self._early[data["action_id"]] = f"ended early after {took}{because}; "
            case "action.left":
                entry.came = f"left to its outcome after {took}: {data['because']}"
                self._early[data["action_id"]] = f"{entry.came}; "
            case "action.unknown":
                entry.tone, entry.came = "bad", f"outcome unknown after {took}: {data['message']}"
            case _:
                verdict = str(data["verdict"]).replace("_", " ")
                why = f" ({data['why']})" if data.get("why") else ""
                entry.tone = "good" if verdict == "done" else "bad"
                entry.came += f"; then {verdict}, says {data['by']}{why}{': ' if result else ''}{result}"
        return None

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────
    def _asked(self, event: Event, data: Mapping[str, Any]) -> Entry:
        choices = " | ".join(data.get("choices") or ())
        text = f"{data['text']}{'  [' if choices else ''}{choices}{']' if choices else ''}"
        entry = Entry(event["at"], "question", text, "waits", "not answered yet")
        self._questions[data["question_id"]] = entry
        return entry

    def _answered(self, event: Event, data: Mapping[str, Any]) -> Entry | None:
        entry = self._questions.get(data["question_id"])
        if entry is None:
            return _other(event, data)
        took = duration(seconds_between(entry.at, event["at"]))
        entry.tone = "plain"
        if event["kind"] == "question.expired":
            entry.came = f"nobody answered within {took}"
            return None
        if event["kind"] == "question.withdrawn":
            entry.came = f"withdrawn after {took}: {data['why']}"
            return None
        given = [str(data["choice"])] if data.get("choice") else []
        given += [value_text(data["value"])] if data.get("value") is not None else []
        entry.came = f"{data['by']} after {took}: {', '.join(given)}"
        return None


def _started(event: Event, data: Mapping[str, Any]) -> Entry:
    place = f" at {data['home']}" if data.get("home") else ""
    values = named_values(data.get("parameters") or {})
    text = f"{data['protocol']} {data['version']} for {data['sample']}{place}, started by {data['by']}"
    return Entry(event["at"], "run", text, came=values)


def _state(event: Event, data: Mapping[str, Any]) -> Entry | None:
    cause = data.get("cause") or ""
    if data["by"] == "labd" and not cause and (data["to"] not in _TOLD or data["from"] == "Starting"):
        return None  # the passing states of the life cycle say nothing by themselves
    who = f", {data['command']} by {data['by']}" if data["by"] != "labd" else ""
    tone: Tone = "bad" if data["to"] in ("Holding", "Aborting", "Aborted") else "plain"
    tone = "waits" if data["to"] in ("Held", "Suspended") else tone
    return Entry(event["at"], "run", f"{data['from']} → {data['to']}{who}", tone, cause)


def _ended(event: Event, data: Mapping[str, Any]) -> Entry:
    good = data["outcome"] == "complete"
    return Entry(event["at"], "run", f"ended: {data['outcome']}", "good" if good else "bad", data.get("cause") or "")


def _entered(event: Event, data: Mapping[str, Any]) -> Entry:
    visits = data.get("visits", 1)
    again = f" (visit {visits})" if visits > 1 else ""
    bindings = ", ".join(f"{role} = {device}" for role, device in (data.get("bindings") or {}).items())
    because = f"; {data['because']}" if data.get("because") and data["because"] != "the run starts" else ""
    return Entry(event["at"], "state", f"{data['state']}{again}", came=f"{bindings}{because}".removeprefix("; "))


def _decided(event: Event, data: Mapping[str, Any]) -> Entry:
    parts = [f"as {data['expression']}"] if data.get("expression") else []
    parts += [f"with {data['because']}"] if data.get("because") else []
    what, value = f"{_branch(data)}{data['what']}", value_text(data["value"])
    if what.startswith("enter ") and value == "the run starts":  # of a called protocol's first state
        value = ""
    return Entry(event["at"], "decision", f"{what} → {value}" if value else what, came=", ".join(parts))


def _branch(data: Mapping[str, Any]) -> str:
    """`warm: ` of a step in the branch `warm` of a `parallel`."""
    names = re.findall(r"[.](?!then[.]|else[.])([A-Za-z]\w*)(?=[.])", str(data.get("step") or "").partition(">")[0])
    return f"{names[-1]}: " if names else ""


def _protocol_ended(event: Event, data: Mapping[str, Any]) -> Entry | None:
    if not data.get("because"):
        return None  # run.ended says it
    return Entry(event["at"], "state", str(data["state"]), came=f"an end; {data['because']}")


def _refused(event: Event, data: Mapping[str, Any]) -> Entry:
    return Entry(event["at"], "action", str(data["action"]), "bad", f"not sent: {data['message']}")


def _moved(event: Event, data: Mapping[str, Any]) -> Entry:
    nowhere = "outside the lab"
    return Entry(event["at"], "sample", f"{data['sample']}: {data['from'] or nowhere} → {data['to'] or nowhere}")


def _part_moved(event: Event, data: Mapping[str, Any]) -> Entry:
    moved = "now holds" if data["held"] else "no longer holds"
    return Entry(event["at"], "sample", f"{data['place']} {moved} a part for {data['sample']}")


def _made_safe(event: Event, data: Mapping[str, Any]) -> Entry:
    unit = f".{data['unit']}" if data.get("unit") else ""
    problem = data.get("problem")
    came = f"failed: {problem}" if problem else "safe"
    return Entry(event["at"], "note", f"{data['device']}{unit}: safe state", "bad" if problem else "good", came)


def _cleaned(event: Event, data: Mapping[str, Any]) -> Entry:
    problem = data.get("problem") or ""
    return Entry(event["at"], "note", event["kind"].replace(".", " "), "bad" if problem else "plain", problem)


def _commanded(event: Event, data: Mapping[str, Any]) -> Entry | None:
    if not data.get("at"):
        return None  # the change of state, or the question's answer, says it
    return Entry(event["at"], "note", f"{data['by']} ordered {data['command']} at {data['at']}")


def _resumed(event: Event, data: Mapping[str, Any]) -> Entry:
    went = "held as before" if data["packml"] in ("Held", "Holding") else "goes on"
    where = f" in {data['state']}" if data.get("state") else ""
    return Entry(event["at"], "run", f"labd was started again: {went}{where}", came=str(data["why"]))


def _other(event: Event, data: Mapping[str, Any]) -> Entry:
    return Entry(event["at"], "note", str(event["kind"]), came=named_values(data))
