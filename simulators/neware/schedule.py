"""Step files of BTS 8, as the cycler reads them: currents in mA, voltages in 0.1 mV, times in ms.

Facts: the step files that EmpaEconversion/aurora-unicycler writes for BTS Client 8.0.0.478 (`version="17"`), read in
its source (aurora_unicycler/_formats/neware.py, 1747be2).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

CC_CHARGE, CC_DISCHARGE, CV_CHARGE, REST, LOOP, END, CV_DISCHARGE = 1, 2, 3, 4, 5, 6, 19
NAMES = {CC_CHARGE: "cc", CC_DISCHARGE: "dc", CV_CHARGE: "cv", CV_DISCHARGE: "dv", REST: "rest"}


class BadSchedule(ValueError):
    """A file that the cycler does not take."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. A, V, s; None where the file sets no limit."""

    number: int
    kind: int
    current: float | None = None
    voltage: float | None = None
    time: float | None = None
    stop_voltage: float | None = None
    stop_current: float | None = None
    start_step: int = 1
    count: int = 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """A file: its steps, what ends them all by protection, and how often is recorded (s)."""

    steps: tuple[Step, ...]
    interval: float
    voltage: tuple[float | None, float | None] = (None, None)
    current: tuple[float | None, float | None] = (None, None)
    delay: float = 0.0


def read_schedule(text: str) -> Schedule:
    """Reads a file. Raises BadSchedule."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - our own driver's, or a test's
        config = root.find("config")
        if config is None or config.get("type") != "Step File":
            raise BadSchedule("no step file")
        info = config.find("Step_Info")
        if info is None:
            raise BadSchedule("no steps")
        steps = tuple(_step(element) for element in info)
        if not steps or steps[-1].kind != END or int(info.get("Num", "0")) != len(steps):
            raise BadSchedule("the last step is no end, or there are more or fewer than Num says")
        return Schedule(
            steps,
            (_value(config, "Whole_Prt/Record/Main/Time") or 10000.0) / 1e3,
            (_scaled(config, "Volt/Lower", 1e-4), _scaled(config, "Volt/Upper", 1e-4)),
            (_scaled(config, "Curr/Lower", 1e-3), _scaled(config, "Curr/Upper", 1e-3)),
            _scaled(config, "Delay_Time", 1e-3) or 0.0,
        )
    except (ET.ParseError, KeyError) as error:
        raise BadSchedule(str(error)) from error


def _scaled(config: ET.Element, name: str, factor: float) -> float | None:
    value = _value(config, f"Whole_Prt/Protect/Main/{name}")
    return None if value is None else value * factor


def _step(element: ET.Element) -> Step:
    number, kind = int(element.attrib["Step_ID"]), int(element.attrib["Step_Type"])
    if element.tag != f"Step{number}" or kind not in {*NAMES, LOOP, END}:
        raise BadSchedule(f"{element.tag}: step {number} of type {kind}")

    def limit(name: str, factor: float) -> float | None:
        value = _value(element, f"Limit/Main/{name}")
        return None if value is None else value * factor

    step = Step(
        number,
        kind,
        limit("Curr", 1e-3),
        limit("Volt", 1e-4),
        limit("Time", 1e-3),
        limit("Stop_Volt", 1e-4),
        limit("Stop_Curr", 1e-3),
        int(_value(element, "Limit/Other/Start_Step") or 1),
        int(_value(element, "Limit/Other/Cycle_Count") or 1),
    )
    if kind in (CC_CHARGE, CC_DISCHARGE) and not step.current:
        raise BadSchedule(f"step {number} has no current")
    if kind in (CV_CHARGE, CV_DISCHARGE) and step.voltage is None:
        raise BadSchedule(f"step {number} has no voltage")
    if kind == REST and step.time is None:
        raise BadSchedule(f"step {number} never ends")
    return step


def _value(parent: ET.Element, path: str) -> float | None:
    found = parent.find(path)
    return None if found is None else float(found.attrib["Value"])
