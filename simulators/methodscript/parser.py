"""From a script's text to a program of blocks and operations."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulators.methodscript import errors
from simulators.methodscript.errors import ScriptError, ScriptFault
from simulators.methodscript.values import literal

if TYPE_CHECKING:
    from simulators.methodscript.machine import Machine

LINE_LIMIT = 127
_TOKEN = re.compile(r'f?"[^"]*"|\w+\([^)]*\)|[^\s#]+|#')
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_ELEMENT = re.compile(r"([A-Za-z_]\w*)\[([^\]]+)\]\Z")
_OPTION = re.compile(r"(\w+)\(([^)]*)\)\Z")
TYPES = re.compile(r"(a[a-ikmns-z]|b[ab]|c[a-z]|d[a-d]|e[a-g]|[hij][a-d])\Z")

Op = Callable[["Machine"], bool | None]  # True: break the innermost loop
AsyncOp = Callable[["Machine"], Awaitable[bool | None]]


class Var:
    """A variable with its type and, when it was measured, status and range."""

    __slots__ = ("kind", "scale", "status", "value")

    def __init__(self, value: float = 0.0, kind: str = "aa") -> None:
        self.value = value
        self.kind = kind
        self.status = 0
        self.scale: int | None = None

    def set(self, value: float, kind: str, status: int = 0, scale: int | None = None) -> None:
        self.value, self.kind, self.status, self.scale = value, kind, status, scale


class Element:
    """An element of an array, found anew at each use."""

    __slots__ = ("_index", "_items", "_line")

    def __init__(self, items: list[Var], index: Var, line: int) -> None:
        self._items = items
        self._index = index
        self._line = line

    def at(self) -> Var:
        """The variable that the index points to. Raises ScriptFault when there is none."""
        index = int(self._index.value)
        if not 0 <= index < len(self._items):
            raise ScriptFault(errors.RUNTIME, self._line)
        return self._items[index]

    def set(self, value: float, kind: str, status: int = 0, scale: int | None = None) -> None:
        self.at().set(value, kind, status, scale)

    @property
    def value(self) -> float | int:
        return self.at().value

    @property
    def kind(self) -> str:
        return self.at().kind

    @property
    def status(self) -> int:
        return self.at().status

    @property
    def scale(self) -> int | None:
        return self.at().scale


Operand = Var | Element


@dataclass
class Block:
    """Operations in order; `pure` when none of them waits."""

    ops: list[tuple[AsyncOp | None, Op | None]] = field(default_factory=list)
    pure: bool = True

    def add(self, op: Op) -> None:
        self.ops.append((None, op))

    def add_waiting(self, op: AsyncOp) -> None:
        self.ops.append((op, None))
        self.pure = False

    def run_pure(self, machine: Machine) -> bool | None:
        """Runs a block that never waits. True: the innermost loop ends."""
        for _, op in self.ops:
            if op(machine):  # type: ignore[misc]
                return True
        return None

    async def run(self, machine: Machine) -> bool | None:
        """Runs any block. True: the innermost loop ends."""
        if self.pure:
            return self.run_pure(machine)
        for waiting, op in self.ops:
            ended = op(machine) if op is not None else await waiting(machine)  # type: ignore[misc]
            if ended:
                return True
        return None


@dataclass
class Program:
    """A script ready to run."""

    main: Block
    finish: Block
    names: dict[str, Var] = field(default_factory=dict)
    arrays: dict[str, list[Var]] = field(default_factory=dict)

    def reset(self) -> None:
        """All variables as declared."""
        for var in [*self.names.values(), *(item for items in self.arrays.values() for item in items)]:
            var.set(0.0, "aa")


@dataclass
class Token:
    text: str
    column: int


class Statement:
    """One line of a script, whose arguments are taken from left to right; errors carry line and column."""

    def __init__(self, parser: Parser, line: int, tokens: Sequence[Token], end: int) -> None:
        self.parser = parser
        self.line = line
        self.name = tokens[0].text
        self._tokens = tokens
        self._next = 1
        self._end = end
        self.branches: list[tuple[Callable[[], bool], Block]] = []  # of an `if`

    def error(self, code: int, token: Token | None = None) -> ScriptError:
        column = token.column if token else self._tokens[0].column
        return ScriptError(code, self.line, column)

    def take(self) -> Token:
        if self._next >= len(self._tokens):
            raise ScriptError(errors.ARGUMENT, self.line, self._end)
        self._next += 1
        return self._tokens[self._next - 1]

    @property
    def more(self) -> bool:
        return self._next < len(self._tokens)

    def value(self) -> Operand:
        """A declared variable, an element of an array or a literal."""
        token = self.take()
        number = literal(token.text)
        if number is not None:
            return Var(number)
        return self._variable(token)

    def variable(self) -> Operand:
        """A declared variable or an element of an array."""
        return self._variable(self.take())

    def _variable(self, token: Token) -> Operand:
        found = self.parser.lookup(token.text, self.line)
        if found is None:
            fits = _NAME.match(token.text) or _ELEMENT.match(token.text)
            raise self.error(errors.UNDECLARED if fits else errors.ARGUMENT, token)
        return found

    def new_name(self) -> str:
        token = self.take()
        if not _NAME.match(token.text):
            raise self.error(errors.ARGUMENT, token)
        if self.parser.declared(token.text):
            raise self.error(errors.DUPLICATE, token)
        return token.text

    def kind(self) -> str:
        token = self.take()
        if not TYPES.match(token.text):
            raise self.error(errors.VALUE_TYPE, token)
        return token.text

    def number(self) -> int:
        """A whole number, with or without its `i`."""
        token = self.take()
        value = literal(token.text)
        if value is None or value != int(value):
            raise self.error(errors.ARGUMENT, token)
        return int(value)

    def comparison(self) -> tuple[Operand, str, Operand]:
        left = self.value()
        token = self.take()
        if token.text not in ("==", "!=", ">", "<", ">=", "<="):
            raise self.error(errors.ARGUMENT, token)
        return left, token.text, self.value()

    def text(self) -> tuple[bool, str]:
        """A string in quotes; True before it when it is to be filled in (f"…")."""
        token = self.take()
        quoted = token.text.removeprefix("f")
        if len(quoted) < 2 or not (quoted[0] == quoted[-1] == '"'):
            raise self.error(errors.ARGUMENT, token)
        return token.text.startswith("f"), quoted[1:-1]

    def options(self, allowed: Sequence[str]) -> list[tuple[str, str]]:
        """The `name(…)` at the end of a line."""
        found: list[tuple[str, str]] = []
        while self.more:
            token = self.take()
            option = _OPTION.match(token.text)
            if option is None:
                raise self.error(errors.TOO_MANY, token)
            if option[1] not in allowed:
                raise self.error(errors.OPTION, token)
            found.append((option[1], option[2].strip()))
        return found

    def rest(self) -> None:
        """Whatever follows; for settings that have no effect here."""
        self._next = len(self._tokens)

    def finish(self) -> None:
        if self.more:
            raise self.error(errors.TOO_MANY, self._tokens[self._next])


@dataclass
class _Open:
    """A block that waits for its end."""

    kind: str  # loop, meas, if
    line: int
    block: Block
    close: Callable[[], None]
    statement: Statement


class Parser:
    """Takes a script line by line and builds its program."""

    def __init__(self) -> None:
        self.program = Program(Block(), Block())
        self.block = self.program.main
        self._open: list[_Open] = []
        self._finishing = False

    def lookup(self, name: str, line: int) -> Operand | None:
        """A declared variable or an element of a declared array, by its name in a script."""
        element = _ELEMENT.match(name)
        if element is None:
            return self.program.names.get(name)
        items = self.program.arrays.get(element[1])
        number = literal(element[2])
        index = Var(number) if number is not None else self.program.names.get(element[2])
        return None if items is None or index is None else Element(items, index, line)

    def declared(self, name: str) -> bool:
        return name in self.program.names or name in self.program.arrays

    @property
    def inside_meas(self) -> bool:
        return any(item.kind == "meas" for item in self._open)

    @property
    def inside_loop(self) -> bool:
        return any(item.kind in ("meas", "loop") for item in self._open)

    def open(self, kind: str, statement: Statement, block: Block, close: Callable[[], None]) -> None:
        """Begins a block; `close` adds it to the one around it when its end has come."""
        self._open.append(_Open(kind, statement.line, self.block, close, statement))
        self.block = block

    def close(self, kinds: Sequence[str], statement: Statement) -> None:
        """Ends the innermost block, which must be of one of these kinds."""
        if not self._open or self._open[-1].kind not in kinds:
            raise statement.error(errors.NO_BLOCK)
        item = self._open.pop()
        self.block = item.block
        item.close()

    def branch(self, statement: Statement, block: Block) -> None:
        """Goes on in another branch of the `if` that is open."""
        if not self._open or self._open[-1].kind != "if":
            raise statement.error(errors.NO_BLOCK)
        self.block = block

    @property
    def opener(self) -> Statement | None:
        return self._open[-1].statement if self._open else None

    def parse(self, lines: Sequence[str]) -> Program:
        """The program of a script.

        Raises:
            ScriptError: it cannot be taken; with line (the first after `e` is 1) and column.
        """
        from simulators.methodscript.commands import COMMANDS

        for number, text in enumerate(lines, 1):
            if len(text) > LINE_LIMIT:
                raise ScriptError(errors.TOO_LONG, number, LINE_LIMIT + 1)
            tokens = _tokens(text)
            if not tokens:
                continue
            statement = Statement(self, number, tokens, len(text.rstrip()) + 1)
            if statement.name == "on_finished:":
                if self._open or self._finishing:
                    raise statement.error(errors.MISPLACED)
                self._finishing = True
                self.block = self.program.finish
                continue
            build = COMMANDS.get(statement.name)
            if build is None:
                raise statement.error(errors.SCRIPT_COMMAND)
            build(statement, self)
            statement.finish()
        if self._open:
            raise ScriptError(errors.UNENDED, len(lines), 1)
        return self.program


def _tokens(text: str) -> list[Token]:
    found = []
    for match in _TOKEN.finditer(text):
        if match[0].startswith("#"):
            break
        found.append(Token(match[0], match.start() + 1))
    return found
