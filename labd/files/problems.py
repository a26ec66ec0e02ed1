"""What is wrong with a file that people write, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

CODES: dict[str, str] = {
    "P101": "the file cannot be read as text",
    "P102": "the file is not well-formed YAML",
    "P103": "a key stands twice in one mapping",
    "P104": "YAML features that labd's files do not use: anchors, aliases, tags, directives, several documents",
    "P105": "the file is too large, or nests too deeply",
    "P106": "a scalar that people and machines read differently",
    "P107": "a language version that this labd does not know",
    "P111": "an unknown key",
    "P112": "a key is missing",
    "P113": "a value of another kind than belongs there",
    "P114": "a state or step that says nothing to do, or two things",
    "P201": "an unknown role",
    "P202": "an unknown action",
    "P203": "an unknown parameter of an action",
    "P204": "a parameter that the action needs is missing",
    "P205": "an unknown name or field in an expression",
    "P206": "a value of the wrong type",
    "P207": "a value of the wrong dimension, or an unknown unit",
    "P208": "a value out of its bounds",
    "P209": "an expression that cannot be read",
    "P210": "an unknown place or material",
    "P211": "a name that is taken or reserved",
    "P212": "a call of a protocol that is not there, or of another version",
    "P213": "protocols that call each other in a circle, or too deep",
    "P214": "a call of a protocol that does not pass its own check",
    "P215": "a role that a called protocol does not get",
    "P216": "parameters of an action of which exactly one is to be given, and none or several are",
    "P301": "a target that is no state",
    "P302": "a state that cannot be reached",
    "P303": "a state from which no end can be reached",
    "P304": "ways on that do not cover every case, or some that are never taken",
    "P305": "a cycle of states without a bound",
    "P306": "a question that cannot be answered",
    "P307": "a name that is used on some path before it has a value",
    "P308": "a way out of a state from inside a branch of `parallel`",
    "P309": "a `repeat` that does not say how often, or says it twice",
    "P310": "a name that two branches of `parallel` write",
    "P311": "a `retry` that would repeat what is done once, unasked",
    "P312": "a window whose states cannot follow each other, or that cannot be kept",
    "P313": "a step that has no place in `cleanup`",
    "P314": "a `watch` on what cannot change",
    "P315": "a loop that takes no time and goes round too often",
    "P316": "an end that is `complete` though an action that is done once has failed, and nobody has looked",
    "P317": "a division by zero for some values of the parameters",
    "P401": "a run's parameter that is missing, unknown or wrong",
    "P501": "more units of a role than the lab has",
    "P502": "more of a material than the lab has",
    "P503": "more tips than the lab has",
    "P504": "more parts than the lab has",
    "P505": "more into a place than it takes",
    "P506": "an action, or several of one role, that no device of the lab can do",
    "W101": "a step that nothing ends",
    "W102": "a state without a summary",
    "W103": "a parameter, a role or a variable that nothing uses",
    "W104": "a condition that the bounds of the parameters decide: one side of it is never taken",
    "W105": "a `catch` of what cannot happen there",
    "W106": "a window that is likely to expire",
    "W107": "a time limit shorter than the action is expected to take",
    "W108": "parameters whose bounds overlap though one bounds the other",
    "W109": "a role whose devices are all in maintenance",
    # files of faults; P101 to P106 are told of them too
    "F101": "an unknown key in a file of faults",
    "F102": "a key of a fault is missing",
    "F103": "a value of another kind than belongs there",
    "F104": "a number out of its bounds",
    "F105": "a quantity without a unit, of another kind, or with an unknown unit",
    "F201": "a fault of a device that is not there, or is not simulated",
    "F202": "an unknown fault",
    "F203": "a fault that the device does not have",
    "F204": "something that the fault does not take, or something missing that it needs",
    "F205": "a counter that the device does not have",
    # lab.yaml and the files that it names; P101 to P106 are told of them too
    "L101": "an unknown key of lab.yaml",
    "L102": "a key of lab.yaml is missing",
    "L103": "a value of another kind than belongs there",
    "L104": "a number out of its bounds",
    "L105": "a quantity without a unit, of another dimension, or with an unknown unit",
    "L106": "a version of lab.yaml that this labd does not know",
    "L201": "an unknown driver, or one that cannot be loaded",
    "L202": "settings that the driver refuses",
    "L203": "an unknown role",
    "L204": "a role, an interlock or the like that names a device which is not there, or is of another role",
    "L205": "a limit that names no quantity of an action of the device",
    "L206": "a limit that is looser than the driver's own, or that leaves nothing",
    "L207": "a clock that devices, broker or people cannot follow",
    "L208": "a condition of an interlock that cannot be read",
    "L209": "a condition of an interlock that names no signal of a device",
    "L210": "a condition of an interlock with a value of another type or dimension, or with an unknown unit",
    "L211": "a `safe_by` that is no action which makes a device safe: unknown, not of effect `state`, or incomplete",
    "L212": "an evidence whose action gives no dose there, or whose balance does not weigh it",
    "L213": "two devices at one port or address",
    "L214": "a broker of the network without `users`: whoever may publish there commands the lab",
    "L215": "users whose names nobody proves, since the embedded broker has no logins",
    "L216": "a password in lab.yaml",
    "L217": "a file of a password or key that others can read or change",
    "L218": "a file of the broker's login or TLS that is not there or cannot be used",
    "L219": "a login that goes over the network unencrypted",
    "L301": "an unknown labware",
    "L302": "a place or a name that stands twice",
    "L303": "a well that the labware does not have",
    "L304": "a volume that does not fit: above what the well holds, or below its dead volume",
    "L305": "a material that has expired",
    "L306": "parts or liquid where the labware does not take them",
    "L401": "a file of taught positions that is not there",
    "L402": "a taught position or a calibration that cannot be used",
    "L403": "a taught position or a calibration that is no longer valid",
    # files of campaigns; P101 to P106 are told of them too
    "C101": "an unknown key in a campaign's file",
    "C102": "a key of a campaign's file is missing",
    "C103": "a value of another kind than belongs there",
    "C104": "a number out of its bounds",
    "C105": "a quantity without a unit, of another dimension, or with an unknown unit",
    "C106": "a name that is taken or reserved",
    "C107": "a version of campaign files that this labd does not know",
    "C108": "something to choose that is not wholly said, or in two ways",
    "C109": "bounds and a step that leave nothing to choose",
    "C110": "a mixture whose shares cannot sum to its total",
    "C111": "levels whose descriptors differ",
    "C112": "an expression that cannot be read, or that names what is not there",
    "C113": "an expression of another type or dimension than belongs there",
    "C114": "a protocol that is not there, or does not pass its own check",
    "C115": "a parameter of the protocol that is missing, or that it does not have",
    "C116": "a value that the protocol does not take",
    "C117": "an objective that is not wholly said",
    "C118": "a budget without what it costs, or costs without a budget",
    "C119": "an unknown optimiser, law or model of virtual cells, a setting that it does not have, or a library",
    "C120": "a space of which nothing is allowed",
    "C121": "something to choose that nothing uses",
    "C122": "points of the space that the protocol does not take",
    "C123": "a prior that has no value somewhere in the space",
    "P601": "a file to import that is not of the format that it should be of",
    "P602": "something in a file to import that the protocol language cannot say",
    # tables of samples
    "T101": "a table that cannot be read",
    "T102": "a column that is missing, unknown, or stands twice",
    "T103": "a cell whose value does not fit: empty, of another unit or type, or out of bounds",
    "T104": "a sample or a barcode that stands twice, or that the lab has already",
    "T105": "a place that the lab does not have, that is given twice, or where what is needed does not lie",
    "T106": "a row that the lab cannot make: the protocol does not hold with its values",
    "T107": "more than the lab has, or what has expired",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        code: stable, as in CODES.
        line, column: from 1; 0 where there is no line to point at.
        source: the line as it stands in the file.
        mend: how to put it right, where that is known.
        length: how many characters the caret underlines.
        severity: `error`, or `warning` for what is told and still runs.
    """

    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    source: str = ""
    mend: str = ""
    length: int = 1
    severity: Literal["error", "warning"] = "error"

    @property
    def where(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    def render(self) -> str:
        """`file:line:column: P205 message` (`warning L305 …`), the line with a caret under it, and the mend."""
        code = self.code if self.severity == "error" else f"warning {self.code}"
        lines = [f"{self.where}: {code} {self.message}" if self.where else f"{code} {self.message}"]
        if self.line and self.source.strip():
            start = max(0, self.column - 1 - 80)  # of a very long line, what is about the caret
            shown = self.source[start : start + 160].replace("\t", " ")
            gutter = f"{self.line:>5} | "
            space = " " * (self.column - 1 - start)
            carets = "^" * max(1, min(self.length, len(shown) - (self.column - 1 - start)))
            lines += [f"{gutter}{shown}", f"{' ' * (len(gutter) - 2)}| {space}{carets}"]
        if self.mend:
            lines.append(f"      → {self.mend}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For editors."""
        return asdict(self)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """File by file in the order of their lines, each once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda one: (one.file, one.line, one.column, one.code)))


class InputErrors(Exception):
    """A file or values that people gave and that cannot be used; `problems` are in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(problem.render() for problem in self.problems))
