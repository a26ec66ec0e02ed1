"""From text to tree: a small LALR grammar on lark, in which units are part of the language (`0.2 V`).

A unit is written without spaces inside (`10 µL/s`); with spaces, `/` and `*` divide and multiply (`volume / 2 s`).
Bounded: texts of at most 2,000 characters, trees of at most 50 levels, no powers, no calls but those in FUNCTIONS.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError

from labd.expr.errors import ExpressionError, Flaw
from labd.expr.nodes import Call, Chain, Choice, Comparison, ListLiteral, Literal, Name, Node, QuantityLiteral, Unary
from labd.expr.spelling import clipped, did_you_mean

LONGEST = 2_000
DEEPEST = 50
FUNCTIONS = ("min", "max", "abs", "round", "sum", "mean", "len")

_LETTER = r"A-Za-zµμΩΩ°%"
_UNIT_NAME = rf"[{_LETTER}][{_LETTER}0-9]*(?:\^-?[0-9]+)?"
_NUMBER = r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?(?![eE][+-]?\d)"
_KEYWORDS = r"(?!(and|or|not|in|if|else)\b)"

GRAMMAR = rf"""
?start: choice
?choice: either
    | either "if" either "else" choice          -> if_else
?either: both ("or" both)*
?both: negation ("and" negation)*
?negation: comparison
    | NOT negation                              -> negate
?comparison: total (comparator total)*
comparator: COMPARE | IN | NOT IN
?total: product ((PLUS | MINUS) product)*
?product: signed ((STAR | SLASH) signed)*
?signed: atom
    | (PLUS | MINUS) signed                     -> negate
?atom: QUANTITY                                 -> quantity
    | NUMBER                                    -> number
    | TEXT                                      -> text
    | TRUE                                      -> true
    | FALSE                                     -> false
    | NAME ("." NAME)*                          -> name
    | NAME "(" [choice ("," choice)*] CLOSE     -> call
    | OPEN_LIST [choice ("," choice)*] CLOSE_LIST -> items
    | "(" choice ")"

NOT: "not"
IN: "in"
TRUE: "true"
FALSE: "false"
COMPARE: "==" | "!=" | "<=" | ">=" | "<" | ">"
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
CLOSE: ")"
OPEN_LIST: "["
CLOSE_LIST: "]"
QUANTITY.3: /{_NUMBER}[ \t]*{_KEYWORDS}{_UNIT_NAME}([*\/·]{_UNIT_NAME})*/
NUMBER.2: /{_NUMBER}/
TEXT: /"[^"\n]*"|'[^'\n]*'/
NAME: /[A-Za-z][A-Za-z0-9_]*/
%ignore /[ \t\r\n]+/
"""

_SPLIT = re.compile(r"((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)


def parse(text: str) -> Node:
    """Reads an expression. Raises ExpressionError with what is wrong and where."""
    if len(text) > LONGEST:
        raise ExpressionError([Flaw(f"an expression has at most {LONGEST} characters, this one {len(text)}")])
    if not text.strip():
        raise ExpressionError([Flaw("an expression is missing here", 0, max(1, len(text)))])
    try:
        node: Any = _lark().parse(text)
    except UnexpectedInput as error:
        raise ExpressionError([_flaw(text, error)]) from None
    except VisitError as error:
        if isinstance(error.orig_exc, ExpressionError):
            raise error.orig_exc from None
        raise
    return node  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _lark() -> Lark:
    return Lark(GRAMMAR, parser="lalr", transformer=_Build(), maybe_placeholders=False)


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────
_HINTS = (
    ("**", "there are no powers", "multiply instead"),
    ("==", "`==` stands where a value belongs", ""),
    ("=", "`=` compares nothing", "write `==` to compare"),
    ("&", "`&` is not known here", "write `and`"),
    ("|", "`|` is not known here", "write `or`"),
    ("!", "`!` is not known here", "write `not`"),
    ("_", "a name does not begin with an underscore", ""),
    ("{", "braces are not known here", "a hole `{…}` belongs in a text only"),
    ('"', "this text does not end", 'close it with `"`'),
    ("'", "this text does not end", "close it with `'`"),
    ("^", "there are no powers", "multiply instead"),
    ("(", "nothing can be called but " + ", ".join(FUNCTIONS), ""),
)


def _flaw(text: str, error: UnexpectedInput) -> Flaw:
    at = error.pos_in_stream
    ended = isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END")
    if ended or at is None or at >= len(text):
        mend = "a `(` is not closed" if text.count("(") > text.count(")") else ""
        return Flaw("the expression ends too early", max(0, len(text.rstrip()) - 1), 1, mend)
    rest, before = text[at:], text[:at].rstrip()
    if rest.startswith("*") and before.endswith("*"):
        return Flaw("there are no powers", len(before) - 1, at - len(before) + 2, "multiply instead")
    for sign, message, mend in _HINTS:
        if rest.startswith(sign) and not (sign in "\"'" and sign in rest[1:]):
            return Flaw(message, at, len(sign), mend)
    word = str(error.token) if isinstance(error, UnexpectedToken) else rest[0]
    if rest[0].isprintable():
        return Flaw(f"`{clipped(word)}` does not belong here", at, len(word), _mend_word(word, before))
    return Flaw("a character that is no text", at, 1, "delete it")


def _mend_word(word: str, before: str) -> str:
    if word == "if":
        return "a choice is written `x if condition else y`"
    if re.fullmatch(r"[A-Za-z0-9.\"'(\[]+", word) and before and (before[-1].isalnum() or before[-1] in ")]\"'"):
        return "an operator is missing before it"
    return ""


# ── building the tree ────────────────────────────────────────────────────────────────────────────────────────────
def _depth(*nodes: Node, offset: int = 0) -> int:
    depth = 1 + max((node.depth for node in nodes), default=0)
    if depth > DEEPEST:
        message = f"an expression nests at most {DEEPEST} levels deep"
        raise ExpressionError([Flaw(message, offset, 1, "set a variable first")])
    return depth


def _start(child: Any) -> int:
    return (child.start_pos or 0) if isinstance(child, Token) else int(child.offset)


def _end(child: Any) -> int:
    return (child.end_pos or 0) if isinstance(child, Token) else int(child.end)


def _finite(token: Token, text: str) -> float:
    value = float(text) if len(text) <= 40 else math.inf
    if not math.isfinite(value):
        raise ExpressionError([Flaw("this number is too long or too great", token.start_pos or 0, len(token))])
    return int(text) if text.isdigit() else value


class _Build(Transformer[Token, Node]):
    """Bottom-up, as the parser goes: no recursion over the text's depth."""

    def number(self, children: list[Token]) -> Node:
        token = children[0]
        return Literal(_finite(token, str(token)), offset=_start(token), end=_end(token))

    def quantity(self, children: list[Token]) -> Node:
        token = children[0]
        found = _SPLIT.fullmatch(str(token))
        assert found is not None
        return QuantityLiteral(float(_finite(token, found[1])), found[2], offset=_start(token), end=_end(token))

    def text(self, children: list[Token]) -> Node:
        return Literal(str(children[0])[1:-1], offset=_start(children[0]), end=_end(children[0]))

    def true(self, children: list[Token]) -> Node:
        return Literal(True, offset=_start(children[0]), end=_end(children[0]))

    def false(self, children: list[Token]) -> Node:
        return Literal(False, offset=_start(children[0]), end=_end(children[0]))

    def name(self, children: list[Token]) -> Node:
        parts = tuple(str(child) for child in children)
        return Name(parts, tuple(map(_start, children)), offset=_start(children[0]), end=_end(children[-1]))

    def call(self, children: list[Any]) -> Node:
        function, *arguments, close = children
        offset = _start(function)
        if str(function) not in FUNCTIONS:
            mend = did_you_mean(str(function), FUNCTIONS, "there are")
            raise ExpressionError(
                [Flaw(f"there is no function `{clipped(str(function))}`", offset, len(function), mend, "name")]
            )
        return Call(
            str(function), tuple(arguments), offset=offset, end=_end(close), depth=_depth(*arguments, offset=offset)
        )

    def items(self, children: list[Any]) -> Node:
        opening, *items, close = children
        offset = _start(opening)
        return ListLiteral(tuple(items), offset=offset, end=_end(close), depth=_depth(*items, offset=offset))

    def negate(self, children: list[Any]) -> Node:
        operator, operand = children
        offset = _start(operator)
        if str(operator) == "-" and isinstance(operand, QuantityLiteral):  # -5 degC is a point, not minus a point
            return QuantityLiteral(-operand.number, operand.unit, offset=offset, end=operand.end)
        return Unary(str(operator), operand, offset=offset, end=operand.end, depth=_depth(operand, offset=offset))

    def _chain(self, terms: list[Any], operators: list[str]) -> Node:
        offset = terms[0].offset
        return Chain(
            tuple(terms), tuple(operators), offset=offset, end=terms[-1].end, depth=_depth(*terms, offset=offset)
        )

    def either(self, children: list[Any]) -> Node:
        return self._chain(children, ["or"] * (len(children) - 1))

    def both(self, children: list[Any]) -> Node:
        return self._chain(children, ["and"] * (len(children) - 1))

    def total(self, children: list[Any]) -> Node:
        return self._chain(children[::2], [str(operator) for operator in children[1::2]])

    product = total

    def comparator(self, children: list[Token]) -> Token:
        first, last = children[0], children[-1]
        return Token("COMPARE", " ".join(children), start_pos=first.start_pos, end_pos=last.end_pos)

    def comparison(self, children: list[Any]) -> Node:
        left, operator, right, *more = children
        if more:
            message, mend = "comparisons do not follow each other", "write `a < b and b < c`"
            raise ExpressionError([Flaw(message, _start(more[0]), len(more[0]), mend)])
        depth = _depth(left, right, offset=left.offset)
        return Comparison(str(operator), left, right, offset=left.offset, end=right.end, depth=depth)

    def if_else(self, children: list[Any]) -> Node:
        value, condition, otherwise = children
        depth = _depth(value, condition, otherwise, offset=value.offset)
        return Choice(value, condition, otherwise, offset=value.offset, end=otherwise.end, depth=depth)
