"""From a file to a Protocol, or to all that is wrong with its shape."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from labd.expr import did_you_mean
from labd.files.library import Library, folder, split_call
from labd.files.problems import InputErrors, Problem
from labd.files.reader import Reader, read_file
from labd.files.shapes import essential
from labd.files.source import Source
from labd.protocol.model import CallStep, Parameter, ProtocolFile, RoleUse, State, file_of, steps_of
from labd.protocol.shape import shape_problem

LANGUAGE = 1
DEEPEST_CALL = 8


@dataclass(frozen=True)
class Protocol:
    """A protocol whose shape is right; `check` says whether it means anything.

    `calls` are the protocols that it calls, by the text of the call, `mix@1`.
    """

    file: ProtocolFile
    source: Source = field(repr=False, compare=False)
    calls: Mapping[str, Protocol] = field(default_factory=dict, repr=False, compare=False)

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
    def texts(self) -> Mapping[str, str]:
        """The texts of all protocols that it calls, and that those call, by name: a run keeps them too."""
        found: dict[str, str] = {}
        for called in self.calls.values():
            found |= {called.name: called.text, **called.texts}
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text, and of those that it calls."""
        whole = hashlib.sha256(self.text.encode())
        for name, text in sorted(self.texts.items()):
            whole.update(f"\0{name}\0{text}".encode())
        return whole.hexdigest()


def load(source: FilePath | str, name: str | None = None, library: Library | None = None) -> Protocol:
    """Reads a protocol from a file (a Path), or from its text, with those that it calls.

    Args:
        source: the file's path, or its text.
        name: what messages call the file.
        library: where the protocols that it calls are found; default: beside the file.

    Raises:
        InputErrors: with everything that is wrong with its shape.
    """
    if library is None:
        library = folder(source.parent) if isinstance(source, FilePath) else Library({})
    return _load(source, name, library, ())


def _load(source: FilePath | str, name: str | None, library: Library, calling: tuple[str, ...]) -> Protocol:
    tree, origin, problems = read_tree(source, name)
    try:
        file = file_of(tree)
    except ValidationError as error:
        told = {(problem.line, problem.column) for problem in problems}
        shapes = [shape_problem(origin, tree, flaw) for flaw in essential(error)]
        problems += [problem for problem in shapes if (problem.line, problem.column) not in told]
        raise InputErrors(problems) from None
    calls = _called(file, origin, library, (*calling, file.protocol), problems)
    if problems:
        raise InputErrors(problems)
    return Protocol(file, origin, calls)


def read_tree(source: FilePath | str, name: str | None) -> tuple[dict[str, Any], Source, list[Problem]]:
    """A file as plain values, with what its reader found odd. Raises InputErrors where it is no protocol at all."""
    text = read_file(source) if isinstance(source, FilePath) else source
    origin = Source(name or (str(source) if isinstance(source, FilePath) else "protocol"), text)
    reader = Reader(origin)
    tree = reader.read()
    _check_head(tree, origin, reader.problems)
    return tree, origin, reader.problems


def called_by(file: ProtocolFile, origin: Source, library: Library) -> dict[str, Protocol]:
    """The protocols that a file calls, as far as they can be had."""
    return _called(file, origin, library, (file.protocol,), [])


def _called(
    file: ProtocolFile, origin: Source, library: Library, calling: tuple[str, ...], problems: list[Problem]
) -> dict[str, Protocol]:
    """The protocols that a file calls, each loaded once; what cannot be had goes to `problems`."""
    found: dict[str, Protocol] = {}
    told: set[str] = set()
    for path, step in steps_of(file):
        if not isinstance(step, CallStep) or step.call in found:
            continue
        at = (*path, "call")
        name, major = split_call(step.call)
        if major is None:
            mend = "write the name and the major version: `call: mix_electrolyte@1`"
            problems.append(origin.problem("P212", f"`{step.call[:60]}` names no version", at, mend))
            continue
        if name in calling:
            mend = "protocols call in one direction only"
            problems.append(origin.problem("P213", f"`{calling[-1]}` would call itself by `{name}`", at, mend))
            continue
        if len(calling) >= DEEPEST_CALL:
            problems.append(origin.problem("P213", f"calls go more than {DEEPEST_CALL} deep here", at))
            continue
        entry = library.find(name)
        if entry is None:
            mend = did_you_mean(name, library.names, "known are")
            problems.append(origin.problem("P212", f"there is no protocol `{name[:60]}` to call", at, mend))
            continue
        try:
            called = _load(entry.text, entry.label, library, calling)
        except InputErrors as errors:
            problems.append(origin.problem("P214", f"`{name}` does not pass its check", at, f"mend {entry.label}"))
            if step.call not in told:
                problems += errors.problems
            told.add(step.call)
            continue
        if called.version.partition(".")[0] != str(major):
            mend = f"write `call: {name}@{called.version.partition('.')[0]}`, after a look at what changed"
            problems.append(origin.problem("P212", f"`{name}` is of version {called.version}, not {major}", at, mend))
            continue
        found[step.call] = called
    return found


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
