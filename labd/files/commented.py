"""A YAML file as a tree that keeps the comments, each at the entry that it speaks of.

Made of the parser's events, as the reader's tree is. A comment beside a line belongs to the entry that ends there. One
on lines of its own belongs to the entry below it, or to the end of a block where it stands deeper than what comes next.
What stands above the first entry is the file's head, what stands below the last its foot.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

_COMMENT = re.compile(r"#[^\n]*")


@dataclass(slots=True, eq=False)
class Scalar:
    """A text, number, truth value or nothing; `style` is its quotes or block sign, "" where it stood plain."""

    text: str
    style: str = ""
    start: int = 0


@dataclass(slots=True, eq=False)
class Collection:
    """A mapping or a list.

    Args:
        owner: the entry whose value it is; None for the whole file.
        flow: it stood in braces or brackets.
        column: of its entries, from 0.
        foot: comments at its end; "" is an empty line.
    """

    mapping: bool
    entries: list[Entry] = field(default_factory=list)
    foot: list[str] = field(default_factory=list)
    owner: Entry | None = None
    flow: bool = False
    start: int = 0
    end: int = 0
    column: int = 0


@dataclass(slots=True, eq=False)
class Entry:
    """A key with its value, or an item of a list, which has no key.

    Args:
        above: comments before it; "" is an empty line.
        beside: comments in its line.
        apart: an empty line stood before it.
    """

    parent: Collection
    value: Scalar | Collection
    key: Scalar | None = None
    above: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    apart: bool = False
    start: int = 0

    @property
    def name(self) -> str:
        return self.key.text if self.key else ""


@dataclass(slots=True, eq=False)
class Document:
    """A file; `apart` says that an empty line parts the head from the first entry."""

    root: Scalar | Collection
    head: list[str] = field(default_factory=list)
    apart: bool = False

    def comments(self) -> list[str]:
        """All comments, sorted."""
        found = [*self.head]
        if isinstance(self.root, Collection):
            for part in _collections(self.root):
                found += part.foot
                for entry in part.entries:
                    found += [*entry.above, *entry.beside]
        return sorted(comment for comment in found if comment)


def _collections(root: Collection) -> Iterator[Collection]:
    yield root
    for entry in root.entries:
        if isinstance(entry.value, Collection):
            yield from _collections(entry.value)


def has_comments(collection: Collection) -> bool:
    """Whether any stand inside it."""
    return any(
        part.foot or any(entry.above or entry.beside for entry in part.entries) for part in _collections(collection)
    )


class Noted(dict[str, Any]):
    """A mapping for `tree_of`, with comments above it."""

    notes: tuple[str, ...] = ()


def tree_of(value: Any, owner: Entry | None = None) -> Scalar | Collection:
    """Plain data as such a tree: texts are quoted where they must be, numbers and truth values are not."""
    if isinstance(value, Mapping):
        made = Collection(mapping=True, owner=owner)
        for key, part in value.items():
            _add(made, part, Scalar(key, '"'))
        return made
    if isinstance(value, (list, tuple)):
        made = Collection(mapping=False, owner=owner)
        for part in value:
            _add(made, part, None)
        return made
    if isinstance(value, bool) or value is None:
        return Scalar("" if value is None else str(value).lower())
    return Scalar(str(value), '"' if isinstance(value, str) else "")


def _add(collection: Collection, value: Any, key: Scalar | None) -> None:
    entry = Entry(collection, Scalar(""), key)
    entry.value = tree_of(value, entry)
    entry.above = [f"# {note}" for note in getattr(value, "notes", ())]
    collection.entries.append(entry)


def read(text: str) -> Document:
    """The tree of a text that the reader found sound, and that has the line ends of Unix."""
    builder = _Builder(text)
    builder.build()
    return builder.document


@dataclass(slots=True)
class _Mark:
    """A place after which a comment belongs to an entry; `flow` is what is open there in braces or brackets."""

    at: int
    entry: Entry
    flow: Collection | None


@dataclass(slots=True)
class _Builder:
    text: str
    document: Document = field(default_factory=lambda: Document(Scalar("")))
    _open: list[Collection] = field(default_factory=list)
    _key: Scalar | None = None
    _marks: list[_Mark] = field(default_factory=list)
    _entries: list[Entry] = field(default_factory=list)
    _scalars: list[tuple[int, int]] = field(default_factory=list)

    def build(self) -> None:
        for event in YAML(typ="safe", pure=True).parse(self.text):
            self._take(event)
        for entry in self._entries:
            entry.apart = _empty_before(self.text, entry.start)
        places = _Places(self.text, self.document, self._marks, self._entries)
        for at in self._comments():
            places.put(at)
        places.close()

    # ── the tree ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _take(self, event: Event) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, ScalarEvent):
            self._scalar(Scalar(event.value, event.style or "", start), end)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            mapping, flow = isinstance(event, MappingStartEvent), bool(event.flow_style)
            made = Collection(mapping, flow=flow, start=start, end=len(self.text), column=event.start_mark.column)
            made.owner = self._store(made)
            self._open.append(made)
            if flow and made.owner is not None:
                self._mark(start + 1, made.owner)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            made = self._open.pop()
            made.end = end
            if made.flow and made.owner is not None:
                self._mark(end, made.owner)

    def _scalar(self, scalar: Scalar, end: int) -> None:
        if self._open and self._open[-1].mapping and self._key is None:
            self._key = scalar
            self._scalars.append((scalar.start, end))
            return
        key = self._key
        if not scalar.text and not scalar.style and key is not None:
            scalar.start = end = self._scalars[-1][1]  # of nothing, the parser says where the next thing begins
        entry = self._store(scalar)
        self._scalars.append((scalar.start, end))
        if entry is None:
            return
        block = scalar.style in ("|", ">")
        if scalar.start < end or key is None:
            self._mark(scalar.start + 1 if block else end, entry)
        header = self.text[scalar.start : end].partition("\n")[0] if block else ""
        if found := _COMMENT.search(header):
            entry.beside.append(found[0].rstrip())

    def _store(self, value: Scalar | Collection) -> Entry | None:
        if not self._open:
            self.document.root = value
            return None
        key, self._key = self._key, None
        entry = Entry(self._open[-1], value, key, start=key.start if key else value.start)
        self._open[-1].entries.append(entry)
        self._entries.append(entry)
        if key is not None:
            self._mark(self._scalars[-1][1], entry)
        return entry

    def _mark(self, at: int, entry: Entry) -> None:
        flow = self._open[-1] if self._open and self._open[-1].flow else None
        self._marks.append(_Mark(at, entry, flow))

    # ── what is no tree ──────────────────────────────────────────────────────────────────────────────────────────
    def _comments(self) -> Iterator[int]:
        """Where comments begin: at each # that is in no scalar."""
        last = 0
        for start, end in [*self._scalars, (len(self.text), len(self.text))]:
            yield from (found.start() for found in _COMMENT.finditer(self.text, last, max(last, start)))
            last = max(last, end)


def _empty_before(text: str, at: int) -> bool:
    """Whether the line above the one of an index is empty."""
    begin = text.rfind("\n", 0, at)
    return begin >= 0 and not text[text.rfind("\n", 0, begin) + 1 : begin].strip()


@dataclass(slots=True)
class _Spot:
    """Where comments are kept: above an entry, or at the foot of a block."""

    lines: list[str]
    entry: Entry | None = None
    block: Collection | None = None


@dataclass(slots=True)
class _Places:
    """Finds each comment its place, from the first to the last."""

    text: str
    document: Document
    marks: list[_Mark]
    entries: list[Entry]
    _last_mark: int = -1
    _last: _Spot | None = None

    def put(self, at: int) -> None:
        line_end = self.text.find("\n", at)
        comment = self.text[at : line_end if line_end >= 0 else len(self.text)].strip()
        number = bisect_right(self.marks, at, key=lambda mark: mark.at) - 1
        if number < 0:
            if self.document.head and _empty_before(self.text, at):
                self.document.head.append("")
            self.document.head.append(comment)
            return
        mark = self.marks[number]
        if "\n" not in self.text[mark.at : at]:
            mark.entry.beside.append(comment)
            return
        last = self._last if number == self._last_mark else None
        spot = last if last is not None and last.entry is not None else self._spot(mark, at, last)
        self._last_mark, self._last = number, spot
        empty = _empty_before(self.text, at)
        if spot.entry is not None and not spot.lines:
            spot.entry.apart = empty
        elif empty:
            spot.lines.append("")
        spot.lines.append(comment)

    def close(self) -> None:
        """Keeps the empty lines between comments and what stands below them."""
        for entry in self.entries:
            if entry.above and _empty_before(self.text, entry.start):
                entry.above.append("")
        if self.document.head and self.entries:
            self.document.apart = _empty_before(self.text, self.entries[0].start)

    def _spot(self, mark: _Mark, at: int, last: _Spot | None) -> _Spot:
        number = bisect_left(self.entries, at, key=lambda entry: entry.start)
        after = self.entries[number] if number < len(self.entries) else None
        if mark.flow is not None:
            return self._spot_in_flow(mark.flow, mark.entry, after)
        value = mark.entry.value
        if value.start > at and (isinstance(value, Scalar) or value.flow):
            return _Spot(mark.entry.above, mark.entry)  # between a key and its value
        block = self._ended(mark.entry, after, at, last.block if last else None)
        if block is not None:
            return _Spot(block.foot, block=block)
        assert after is not None
        return _Spot(after.above, after)

    def _spot_in_flow(self, flow: Collection, owner: Entry, after: Entry | None) -> _Spot:
        if after is not None and after.start < flow.end:
            return _Spot(after.above, after)
        if flow.entries:
            return _Spot(flow.foot, block=flow)
        return _Spot(owner.above, owner)

    def _ended(self, before: Entry, after: Entry | None, at: int, outside: Collection | None) -> Collection | None:
        """The block at whose end a comment stands, or None where it speaks of the entry after it.

        Where the comment before it stands at the end of a block (`outside`), it belongs to none inside that block.
        """
        begin = self.text.rfind("\n", 0, at) + 1
        column = at - begin
        around = set(_around(after)) if after is not None else set()
        closed = [block for block in _around(before) if block not in around and not block.flow]
        if outside in closed:
            closed = closed[closed.index(outside) :]
        fitting = [block for block in closed if block.column <= column]
        if after is None:
            return fitting[0] if fitting and column else closed[-1]
        beside_dash = bool(self.text[begin:at].strip())
        return fitting[0] if fitting and column > after.parent.column and not beside_dash else None


def _around(entry: Entry) -> Iterator[Collection]:
    """The collections that an entry stands in, from the innermost."""
    inside: Entry | None = entry
    while inside is not None:
        yield inside.parent
        inside = inside.parent.owner
