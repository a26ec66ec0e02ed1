"""Step files for BTS 8: what a channel is to do by itself, with the limits that protect its cell.

In the file currents are in mA, voltages in 0.1 mV, times in ms, all as magnitudes; the type of a step says which way.

Facts: the files that EmpaEconversion/aurora-unicycler writes for BTS Client 8.0.0.478, format version 17.
"""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from labd import clock

CC_CHARGE, CC_DISCHARGE, CV_CHARGE, REST, LOOP, END, CV_DISCHARGE = 1, 2, 3, 4, 5, 6, 19
PROTECT_DELAY = 1.0  # s that a limit must be passed before protection ends the test
_CLIENT = "BTS Client 8.0.0.478(2024.06.24)(R3)"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: V, A and s; magnitudes. None: no such limit."""

    kind: int
    current: float | None = None
    voltage: float | None = None
    time: float | None = None
    stop_voltage: float | None = None
    stop_current: float | None = None


@dataclass(frozen=True, slots=True)
class Protection:
    """What ends a test whatever its steps say, V and A."""

    low: float
    high: float
    current: float


def schedule(name: str, steps: Sequence[Step], protection: Protection, interval: float, repeat: int = 1) -> str:
    """A step file as text: the steps in their order, all of them `repeat` times, then the end.

    Args:
        name: of what it is for; stands in the file as its remark.
        steps: what to do.
        protection: limits of the whole test.
        interval: s between two records.
        repeat: how often all steps are done.
    """
    root = ET.Element("root")
    config = ET.SubElement(
        root,
        "config",
        type="Step File",
        version="17",
        client_version=_CLIENT,
        date=clock.now().strftime("%Y%m%d%H%M%S"),
        Guid=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
    )
    head = ET.SubElement(config, "Head_Info")
    for tag, value in (("Operate", "66"), ("Scale", "1"), ("Start_Step", "1"), ("Creator", "labd"), ("Remark", name)):
        ET.SubElement(head, tag, Value=value)
    head[2].set("Hide_Ctrl_Step", "0")
    ET.SubElement(head, "RateType", Value="103")  # currents, not C-rates
    whole = ET.SubElement(config, "Whole_Prt")
    _protect(whole, protection)
    record = ET.SubElement(ET.SubElement(whole, "Record"), "Main")
    ET.SubElement(record, "Time", Value=_value(interval, 1e3))
    loops = repeat > 1
    info = ET.SubElement(config, "Step_Info", Num=str(len(steps) + loops + 1))
    for number, step in enumerate(steps, 1):
        _step(info, number, step)
    if loops:
        other = ET.SubElement(ET.SubElement(_numbered(info, len(steps) + 1, LOOP), "Limit"), "Other")
        ET.SubElement(other, "Start_Step", Value="1")
        ET.SubElement(other, "Cycle_Count", Value=str(repeat))
    _numbered(info, len(steps) + loops + 1, END)
    ET.SubElement(ET.SubElement(config, "SMBUS"), "SMBUS_Info", Num="0", AdjacentInterval="0")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _protect(whole: ET.Element, protection: Protection) -> None:
    main = ET.SubElement(ET.SubElement(whole, "Protect"), "Main")
    volt = ET.SubElement(main, "Volt")
    ET.SubElement(volt, "Upper", Value=_value(protection.high, 1e4))
    ET.SubElement(volt, "Lower", Value=_value(protection.low, 1e4))
    curr = ET.SubElement(main, "Curr")
    ET.SubElement(curr, "Upper", Value=_value(protection.current, 1e3))
    ET.SubElement(curr, "Lower", Value=_value(-protection.current, 1e3))
    ET.SubElement(main, "Delay_Time", Value=_value(PROTECT_DELAY, 1e3))


def _numbered(info: ET.Element, number: int, kind: int) -> ET.Element:
    return ET.SubElement(info, f"Step{number}", Step_ID=str(number), Step_Type=str(kind))


def _step(info: ET.Element, number: int, step: Step) -> None:
    main = ET.SubElement(ET.SubElement(_numbered(info, number, step.kind), "Limit"), "Main")
    limits = (
        ("Volt", step.voltage, 1e4),
        ("Curr", step.current, 1e3),
        ("Time", step.time, 1e3),
        ("Stop_Volt", step.stop_voltage, 1e4),
        ("Stop_Curr", step.stop_current, 1e3),
    )
    for tag, value, factor in limits:
        if value is not None:
            ET.SubElement(main, tag, Value=_value(value, factor))


def _value(value: float, factor: float) -> str:
    return f"{value * factor:f}"
