"""Values as people read them: times local and short, quantities with their units."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from labd.cli.errors import BAD_INPUT, CliError

MANY = 8  # values of a list that are shown


def moment(stamp: str | None) -> datetime | None:
    """A time of journal or interface in this machine's zone."""
    return datetime.fromisoformat(stamp).astimezone() if stamp else None


def short_time(stamp: str | None, near: str | None = None) -> str:
    """`14:03:22` on the day of `near`, else with its date; empty for none."""
    at, other = moment(stamp), moment(near)
    if at is None:
        return ""
    if other is not None and at.date() == other.date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%Y-%m-%d %H:%M:%S")


def many(count: int, what: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{count} {what}{'s' * (count != 1)}"


def seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def quantity(value: float, unit: str) -> str:
    """`35 µL`; a number alone where there is no unit."""
    if not unit:
        return f"{value:.6g}"
    from labd.sdk.units import plain

    return plain(value, unit)


def duration(seconds: float) -> str:
    """`4.1 s`, `10 min`, `2.5 h`."""
    return quantity(seconds, "s")


def value_text(value: Any) -> str:
    """A value of an event's data: `{"v": 7.8, "u": "kN"}` reads `7.8 kN`."""
    if isinstance(value, Mapping) and set(value) == {"v", "u"}:
        inner, unit = value["v"], str(value["u"])
        if isinstance(inner, list):
            return _several([_scalar(item, unit) for item in inner])
        return _scalar(inner, unit)
    if isinstance(value, Mapping):
        return named_values(value)
    if isinstance(value, list):
        return _several([value_text(item) for item in value])
    return _scalar(value, "")


def _several(texts: list[str]) -> str:
    more = [f"… {len(texts)} in all"] if len(texts) > MANY else []
    return f"[{', '.join(texts[:MANY] + more)}]"


def _scalar(value: Any, unit: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return quantity(value, unit) if unit or isinstance(value, float) else str(value)
    return str(value)


def named_values(values: Mapping[str, Any]) -> str:
    """`force 7.8 kN, dwell 2 s`; what is None is left away."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in values.items() if value is not None)


def parameters_of(values: list[str]) -> dict[str, str]:
    """Parameters as typed, `volume=35 µL`. Raises CliError."""
    found: dict[str, str] = {}
    for value in values:
        name, sign, text = value.partition("=")
        if not sign or not name:
            raise CliError(f"{value!r} is no parameter; write name=value, such as volume='35 µL'", BAD_INPUT)
        if name in found:
            raise CliError(f"{name} is given twice", BAD_INPUT)
        found[name] = text
    return found


def broker_text(mqtt: Mapping[str, Any], near: str | None = None) -> str:
    """How the daemon stands with its broker, in one line."""
    since = short_time(mqtt["since"], near)
    where = mqtt["broker"] or "the broker"
    if mqtt["connected"]:
        told = [f"mqtt: connected to {where} since {since}"]
        told += [f"last problem: {mqtt['problem']}"] if mqtt["problem"] else []
    else:
        told = [f"mqtt: NOT connected to {where} since {since}"]
        told += [mqtt["problem"]] if mqtt["problem"] else []
    told += [f"{mqtt[name]} {words}" for name, words in _WAITING.items() if mqtt.get(name)]
    return "; ".join(told)


_WAITING = {"events_waiting": "events wait", "states_waiting": "states wait", "signals_dropped": "signals were dropped"}
