"""YAML 1.2 to plain values with positions. Whatever the file holds, what comes out is a tree or problems, no traceback.

Built on the parser's events: no aliases, tags or documents are ever expanded, and duplicate keys are seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from labd.files.problems import InputErrors, Problem
from labd.files.source import Path, Source, Span

LARGEST = 256_000
DEEPEST = 40

_NO_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAB = re.compile(r"^ *\t[ \t]*(?=[^ \t\r\n])", re.MULTILINE)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ODD_NUMBER = re.compile(r"[-+]?(0[0-9_]*\.?[0-9_]*|0[xo][0-9A-Fa-f]+)")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class WrittenInt(int):
    """A whole number that remembers how it was written."""

    text: str


class WrittenFloat(float):
    """A number that remembers how it was written: `version: 1.10` is no float."""

    text: str


def read_file(path: FilePath) -> str:
    """A file's text. Raises InputErrors when it is missing, too large or no UTF-8 text."""
    name = str(path)
    if not path.is_file():
        odd = "this is a folder" if path.is_dir() else "this is no file"
        raise InputErrors([Problem("P101", odd if path.exists() else "the file does not exist", name)])
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise InputErrors([Problem("P101", f"the file cannot be read: {error.strerror}", name)]) from None
    return decode(data, name)


def decode(data: bytes, name: str) -> str:
    """Bytes as UTF-8 text. Raises InputErrors with the place of the first byte that is none."""
    if len(data) > LARGEST:
        mend = "a protocol, or a lab, is written in some kilobytes"
        raise InputErrors([Problem("P105", f"the file is larger than {LARGEST // 1000} kB", name, mend=mend)])
    if b"\0" in data[:8000] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputErrors([Problem("P101", "this is a binary file, no text", name)])
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        mend = "save it as UTF-8 without BOM"
        raise InputErrors([Problem("P101", "the file begins with a byte-order mark", name, 1, 1, mend=mend)])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        mend = "save it as UTF-8 (it looks like Latin-1)"
        problem = Source(name, before + "\ufffd").at("P101", "a byte that is no UTF-8", len(before), mend)
        raise InputErrors([problem]) from None


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun."""

    path: Path
    value: Any
    flow: bool
    start: int
    key: str | None = None


@dataclass(slots=True)
class Reader:
    """One pass over a file's events."""

    source: Source
    problems: list[Problem] = field(default_factory=list)
    _stack: list[_Open] = field(default_factory=list)
    _root: Any = None

    def read(self) -> Any:
        """The tree. Raises InputErrors where there is none to speak of; other problems are in `problems`."""
        text = self.source.text
        if len(text) > LARGEST:
            self._stop("P105", f"the file is larger than {LARGEST // 1000} kB", 0)
        if text.startswith("\ufeff"):
            self._stop("P101", "the file begins with a byte-order mark", 0, "save it as UTF-8 without BOM")
        if found := _NO_TEXT.search(text):
            self._stop("P101", f"a character that is no text ({found[0]!r})", found.start(), "delete it")
        if found := _TAB.search(text):
            self._stop("P102", "a tab in the indentation", found[0].index("\t") + found.start(), "use spaces")
        try:
            for event in self._events(text):
                self._take(event)
        except MarkedYAMLError as error:
            self._broken(error)
        except (YAMLError, RecursionError, ValueError) as error:
            self._stop("P102", f"this is no YAML: {str(error).splitlines()[0]}", 0)
        return self._root

    def _events(self, text: str) -> Iterator[Event]:
        return iter(YAML(typ="safe", pure=True).parse(text))

    def _stop(self, code: str, message: str, index: int, mend: str = "", length: int = 1) -> None:
        raise InputErrors([*self.problems, self.source.at(code, message, index, mend, length)])

    def _broken(self, error: MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        index = mark.index if mark is not None else 0
        told = " ".join(part for part in (error.problem, error.context) if part) or "this is no YAML"
        mend = ""
        if "stream end" in told or "end of stream" in told:
            index = error.context_mark.index if error.context_mark is not None else index  # where it was opened
            mend = "something that was opened is not closed: a quote, a bracket or a brace"
        elif "expected" in told and any(sign in told for sign in "]},"):
            mend = "a text with a comma, a colon, a bracket or a brace in it is quoted inside `{…}` and `[…]`"
        elif "mapping values are not allowed" in told:
            mend = "a text with `: ` in it is quoted; or the indentation is off"
        elif "cannot start any token" in told:
            mend = "quote the text"
        self._stop("P102", told.splitlines()[0], index, mend)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _take(self, event: Event) -> None:
        start = event.start_mark.index
        if isinstance(event, AliasEvent):
            self._stop("P104", "an alias (`*name`)", start, "write the value out (a protocol has parameters)")
        elif isinstance(event, DocumentStartEvent):
            if self.source.values:
                self._stop("P104", "a second document", start, "one file is one protocol, or one lab")
            if event.version is not None or event.tags:
                self._stop("P104", "a YAML directive", start, "delete it")
        elif isinstance(event, (ScalarEvent, MappingStartEvent, SequenceStartEvent)):
            if event.anchor is not None:
                self._stop("P104", f"an anchor (`&{event.anchor}`)", start, "delete it; a protocol has parameters")
            if event.tag is not None and str(event.tag) != "!":
                self._stop("P104", f"a tag ({event.tag})", start, "delete it")
            if isinstance(event, ScalarEvent):
                self._scalar(event)
            else:
                self._begin(event)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._end(event)

    def _begin(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        start = event.start_mark.index
        if len(self._stack) >= DEEPEST:
            self._stop("P105", f"this nests more than {DEEPEST} levels deep", start)
        value: Any = {} if isinstance(event, MappingStartEvent) else []
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None:
            self._stop("P102", "a key is a text", start, "quote it, or the braces are one too many")
        path = self._path()
        self._store(value, Span(start, start + 1))
        self._stack.append(_Open(path, value, bool(event.flow_style), start))

    def _end(self, event: MappingEndEvent | SequenceEndEvent) -> None:
        ended = self._stack.pop()
        self.source.values[ended.path] = Span(ended.start, event.end_mark.index)

    def _path(self) -> Path:
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        assert top.key is not None
        return (*top.path, top.key)

    def _scalar(self, event: ScalarEvent) -> None:
        style = event.style or ""
        span = Span(event.start_mark.index, event.end_mark.index, style, event.value)
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, span)
            return
        if top is not None and top.flow and isinstance(top.value, dict) and self._stands_alone(top, span):
            return
        self._store(event.value if style else self._resolve(event.value, span), span)

    def _stands_alone(self, top: _Open, span: Span) -> bool:
        """A piece of `{if: max(a, b) > 3 V}`, which YAML parts at the comma."""
        if span.value or span.style or span.end > span.start or top.key is None or "\0" in top.key:
            return False
        if "\0" in top.key:  # a piece that stands twice is told already
            top.key = None
            return True
        key = self.source.keys[(*top.path, top.key)]
        if self.source.text[key.end : span.start].strip() == ":":
            return False
        message = f"`{top.key[:40]}` stands alone"
        mend = "a text with a comma, a colon or a brace in it is quoted inside `{…}`"
        self.problems.append(self.source.at("P102", message, key.start, mend, key.end - key.start))
        top.key = None
        return True

    def _key(self, top: _Open, span: Span) -> None:
        key = span.value or ""
        path = (*top.path, key)
        top.key = key
        if path in self.source.keys:
            first = self.source.text.count("\n", 0, self.source.keys[path].start) + 1
            message = f"the key `{key}` stands twice; the first is in line {first}"
            self.problems.append(self.source.at("P103", message, span.start, "keep one of them", span.end - span.start))
            top.key = f"{key}\0{span.start}"  # read on beside the first, so that the rest is told too
            return
        self.source.keys[path] = span

    def _store(self, value: Any, span: Span) -> None:
        path = self._path()
        if not self._stack:
            self._root = value
        else:
            top = self._stack[-1]
            if isinstance(top.value, list):
                top.value.append(value)
            else:
                assert top.key is not None
                if "\0" not in top.key:
                    top.value[top.key] = value
                top.key = None
        self.source.values[path] = span

    def _resolve(self, text: str, span: Span) -> Any:
        """A plain scalar by YAML 1.2's core schema, less what people misread."""
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return text.lower() == "true"
        whole = _INTEGER.fullmatch(text)
        if whole or _FLOAT.fullmatch(text):
            return self._number(text, span, whole=whole is not None)
        if _ODD_NUMBER.fullmatch(text):
            mend = f"write `{text.lstrip('+-0').replace('_', '') or '0'}` for a number, or quote it for a text"
            if "x" in text or "o" in text:
                mend = "write the number in decimals, or quote it for a text"
            self._odd(f"`{text}` is read as different numbers by different people", span, mend)
            return text
        if _NOT_FINITE.fullmatch(text):
            self._odd(f"`{text}` is no number that a device can be given", span, "write a finite number")
            return text
        return text

    def _number(self, text: str, span: Span, *, whole: bool) -> Any:
        if len(text) > 40 or not math.isfinite(float(text)):
            self._odd("this number is too long or too great", span, "")
            return 0
        written: WrittenInt | WrittenFloat = WrittenInt(text) if whole else WrittenFloat(text)
        written.text = text
        return written

    def _odd(self, message: str, span: Span, mend: str) -> None:
        self.problems.append(self.source.at("P106", message, span.start, mend, span.end - span.start))
