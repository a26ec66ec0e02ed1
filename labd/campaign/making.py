"""What makes the experiments of a campaign's file: its protocol, and what the protocol's parameters are set to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from labd.campaign.compiling import Compiler
from labd.campaign.model import CampaignFile
from labd.campaign.plan import Setting
from labd.expr import ANYTHING, NUMBER, Measure, Type, did_you_mean
from labd.files import InputErrors, Path
from labd.files.library import Library
from labd.lab.findings import Findings
from labd.protocol import LabFacts, Protocol, check, compiled, load
from labd.protocol.parameters import Declared, check_named, parameter_types
from labd.protocol.values import BadValue, expression_of, literal, out_of_bounds
from labd.run.shipped import find_protocol, library

_OF_VALUES = frozenset({"P502", "P503", "P504", "P505"})
"""What is said of all values that parameters may have: the queue looks at those of each sample."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A campaign's protocol, when it is not read from files: its text, and those that it calls."""

    source: str
    name: str
    called: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Making:
    """Reads both; what is wrong with them goes to the findings.

    Args:
        types: of the names of a point.
        results: filled with the types of the protocol's results.
        facts, texts: as of `check_campaign`.
        base: the folder that protocols are looked for in first; None: the file has none.
    """

    file: CampaignFile
    findings: Findings
    compiler: Compiler
    types: Mapping[str, Type]
    results: dict[str, Type]
    facts: LabFacts | None
    texts: Texts | None
    base: FilePath | None

    def protocol(self) -> Protocol | None:
        """The protocol, which fills `results`; None after telling that there is none or that it does not hold."""
        at: Path = ("protocol",)
        try:
            protocol = self._loaded()
        except FileNotFoundError as error:
            known = str(error).rpartition("(")[2].rstrip(")").split(", ")
            mend = did_you_mean(FilePath(self.file.protocol).stem, known, "those that ship with labd are")
            self.findings.tell("C114", f"there is no protocol `{self.file.protocol[:60]}`", at, mend)
            return None
        except InputErrors as errors:
            self._not_holding(errors.problems)
            return None
        found = check(protocol, self.facts)
        problems = [one for one in found if one.severity == "error" and one.code not in _OF_VALUES]
        if problems:
            self._not_holding(problems)
            return None
        program = compiled(protocol, self.facts)
        for name, slot in program.results.items():
            self.results[name] = slot.expression.type if slot.expression is not None else _type_of(slot.fixed)
        return protocol

    def _loaded(self) -> Protocol:
        if self.texts is not None:
            return load(self.texts.source, self.texts.name, library().under(Library(self.texts.called)))
        path = find_protocol_near(self.file.protocol, self.base)
        return load(path, str(path) if path.is_relative_to(self.base or "") else path.name, library(path.parent))

    def _not_holding(self, problems: Any) -> None:
        mend = "mend it first: `labd check` tells the same of it"
        self.findings.tell("C114", f"`{self.file.protocol}` does not pass its check", ("protocol",), mend)
        self.findings.add(problems)

    def settings(self, protocol: Protocol | None) -> dict[str, Setting]:
        """The protocol's parameters, dimension-checked against its own."""
        types = self.types
        if protocol is None:
            for name, raw in self.file.parameters.items():
                if (text := expression_of(raw)) is not None:
                    self.compiler.compile(text, types, ANYTHING, ("parameters", name), 1)
            return {}
        declared = parameter_types(protocol, lambda *_: None)
        for name in self.file.parameters:
            if name not in declared:
                mend = did_you_mean(name, declared, "its parameters are")
                self.findings.tell(
                    "C115", f"{protocol.name} has no parameter `{name}`", ("parameters", name), mend, key=True
                )
        found: dict[str, Setting] = {}
        for name, kind in declared.items():
            if self.file.parameters.get(name) is not None:
                setting = self._setting(name, self.file.parameters[name], kind)
                if setting is not None:
                    found[name] = setting
            elif kind.default is None:
                at: Path = ("parameters",) if "parameters" in self.file.model_fields_set else ("protocol",)
                mend = f"add `{name}: …`, a value or an expression over the space"
                self.findings.tell(
                    "C115", f"the parameter `{name}` of {protocol.name} has no value", at, mend, key=True
                )
        return found

    def _setting(self, name: str, raw: Any, kind: Declared) -> Setting | None:
        at: Path = ("parameters", name)
        if isinstance(raw, dict):
            listed = raw.get("each")
            if set(raw) != {"each"} or not isinstance(listed, list) or not listed:
                mend = f"write `{name}: {{each: [ot2/6/A1, ot2/6/B1]}}`, a value or an expression"
                self.findings.tell("C116", "a mapping here has `each`, a list of values", at, mend)
                return None
            each = [self._literal(one, kind, (*at, "each", index)) for index, one in enumerate(listed)]
            return None if None in each else Setting(kind, each=tuple(each))
        text = expression_of(raw)
        if text is not None:
            expression = self.compiler.compile(text, self.types, kind.type, at, 1)
            return None if expression is None else Setting(kind, expression=expression)
        value = self._literal(raw, kind, at)
        return None if value is None else Setting(kind, fixed=value)

    def _literal(self, raw: Any, kind: Declared, at: Path) -> Any:
        try:
            value = literal(raw, kind.type)
            if self.facts is not None and not isinstance(kind.type, Measure) and hasattr(kind.type, "names"):
                check_named(value, kind.type, self.facts)  # type: ignore[arg-type]
        except BadValue as bad:
            mend = bad.mend
            if isinstance(raw, str) and raw in self.types:
                mend = f"an expression begins with `=`: write `={raw}`"
            self.findings.tell("C116", bad.message, at, mend)
            return None
        problem = out_of_bounds(value, kind.type, kind.bounds)
        if problem:
            self.findings.tell("C116", problem, at, "the bounds are those of the protocol's parameter")
            return None
        return value


def _type_of(value: Any) -> Type:
    return NUMBER if isinstance(value, (int, float)) and not isinstance(value, bool) else ANYTHING


def find_protocol_near(name: str, base: FilePath | None) -> FilePath:
    """A protocol's file: beside the campaign's, by path, or a shipped one. Raises FileNotFoundError."""
    for near in (base / name, base / f"{name}.yaml") if base is not None else ():
        if near.is_file():
            return near
    return find_protocol(name)
