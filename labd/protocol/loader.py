"""From a file to a Protocol, or to all that is wrong with its shape."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from labd.files.problems import InputErrors, Problem
from labd.files.reader import Reader, read_file
from labd.files.source import Source
from labd.protocol.model import Parameter, ProtocolFile, RoleUse, State
from labd.protocol.notyet import take_out
from labd.protocol.shape import shape_problem

LANGUAGE = 1


@dataclass(frozen=True)
class Protocol:
    """A protocol whose shape is right; `check` says whether it means anything."""

    file: ProtocolFile
    source: Source = field(repr=False, compare=False)

    @property
    def protocol(self) -> str:
        return self.file.protocol

    @property
    def name(self) -> str:
        return self.file.protocol

    @property
    def version(self) -> str:
        return self.file.version

    @property
    def summary(self) -> str:
        return self.file.summary

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return self.file.parameters

    @cached_property
    def roles(self) -> Mapping[str, RoleUse]:
        """Local name -> role and number of channels."""
        return {name: use if isinstance(use, RoleUse) else RoleUse(role=use) for name, use in self.file.roles.items()}

    @property
    def start(self) -> str:
        return self.file.start

    @property
    def states(self) -> Mapping[str, State]:
        return self.file.states

    @property
    def text(self) -> str:
        """The file as it was written: what a run keeps."""
        return self.source.text

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def load(source: FilePath | str, name: str | None = None) -> Protocol:
    """Reads a protocol from a file (a Path), or from its text.

    Args:
        source: the file's path, or its text.
        name: what messages call the file.

    Raises:
        InputErrors: with everything that is wrong with its shape.
    """
    text = read_file(source) if isinstance(source, FilePath) else source
    origin = Source(name or (str(source) if isinstance(source, FilePath) else "protocol"), text)
    reader = Reader(origin)
    tree = reader.read()
    problems = reader.problems
    _check_head(tree, origin, problems)
    problems += take_out(tree, origin)
    try:
        file = ProtocolFile.model_validate(tree)
    except ValidationError as error:
        told = {(problem.line, problem.column) for problem in problems}
        shapes = [shape_problem(origin, tree, flaw) for flaw in _essential(error)]
        problems += [problem for problem in shapes if (problem.line, problem.column) not in told]
        raise InputErrors(problems) from None
    if problems:
        raise InputErrors(problems)
    return Protocol(file, origin)


def _check_head(tree: Any, source: Source, problems: list[Problem]) -> None:
    """A file that is no protocol, or of another language version, is told so and nothing else."""
    mend = f"a protocol begins with `labd: {LANGUAGE}`, `protocol: its_name`"
    if not isinstance(tree, dict):
        what = "the file is empty" if tree is None else "this is no protocol"
        raise InputErrors([*problems, source.at("P113", what, 0, mend)])
    if "labd" not in tree:
        raise InputErrors([*problems, source.at("P112", "`labd`, the version of the language, is missing", 0, mend)])
    version = tree["labd"]
    if isinstance(version, bool) or version != LANGUAGE or not isinstance(version, int):
        shown = getattr(version, "text", version)
        message = f"this labd knows version {LANGUAGE} of the language, not {shown!r}"
        raise InputErrors([*problems, source.problem("P107", message, ("labd",), f"write `labd: {LANGUAGE}`")])


def _essential(error: ValidationError) -> list[Any]:
    """Pydantic's errors less those of a whole that follow from an error in its parts."""
    flaws = error.errors(include_url=False, include_context=True)
    locs = {flaw["loc"] for flaw in flaws}
    return [
        flaw
        for flaw in flaws
        if not any(len(other) > len(flaw["loc"]) and other[: len(flaw["loc"])] == flaw["loc"] for other in locs)
    ]
