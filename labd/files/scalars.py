"""The text of a YAML scalar: plain where that is safe, quoted where it must be, over several lines where it is long."""

from __future__ import annotations

import re

_SIMPLE = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_NO_TEXT = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]")
"""What only escapes can say: control characters, the line breaks of other scripts, a byte-order mark."""

_INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@`")
_FLOW_SIGNS = re.compile(r"[,:\[\]{}]")
_MISREAD = re.compile(
    r"~|<<|=|null|true|false|yes|no|on|off|y|n"
    r"|[-+]?(\.[0-9_]+|[0-9][0-9_,]*(\.[0-9_]*)?)(e[-+]?[0-9]+)?|[-+]?[0-9]+(:[0-9]+)+(\.[0-9]*)?"
    r"|[-+]?0([xob][0-9A-Fa-f_]+|[0-9_.]+)|[-+]?\.(inf|nan)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?",
    re.IGNORECASE,
)


def can_be_plain(text: str, *, flow: bool) -> bool:
    """Whether a text keeps its value without quotes; inside `{…}` and `[…]` signs that YAML reads are quoted."""
    if not text or text != text.strip() or _NO_TEXT.search(text):
        return False
    if text[0] in _INDICATORS and not (text[0] == "-" and text[1:2].strip()):
        return False
    if text.startswith(("---", "...")):
        return False
    if ": " in text or " #" in text or text.endswith(":"):
        return False
    return not (flow and _FLOW_SIGNS.search(text))


def is_misread(text: str) -> bool:
    """Whether some reader of YAML takes the plain text for a number, a date, a truth value or nothing."""
    return _MISREAD.fullmatch(text) is not None


def quoted(text: str) -> str:
    """The text in quotes: double ones, or single ones where these spare escapes."""
    if ('"' in text or "\\" in text) and not _NO_TEXT.search(text):
        return "'" + text.replace("'", "''") + "'"
    return '"' + _NO_TEXT.sub(_escape, text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _escape(found: re.Match[str]) -> str:
    sign = found[0]
    if sign in _SIMPLE:
        return _SIMPLE[sign]
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def scalar(text: str, *, plain: bool, flow: bool) -> str:
    """A scalar's one-line form.

    Args:
        text: its value.
        plain: it stood without quotes and may be more than a text (a number, true): its sign for sign is kept.
        flow: it stands inside `{…}` or `[…]`.
    """
    if plain and not text:
        return "null" if flow else ""
    if can_be_plain(text, flow=flow) and (plain or not is_misread(text)):
        return text
    return quoted(text)


def folded(line: str, room_first: int, room: int) -> list[str]:
    """A one-line scalar over several lines, parted where a reader joins them again with one space."""
    lines: list[str] = []
    begin, room_now = 0, room_first
    while len(line) - begin > room_now:
        limit = begin + room_now
        before = (at for at in range(limit, begin, -1) if _may_break(line, at))
        after = (at for at in range(limit + 1, len(line) - 1) if _may_break(line, at))
        at = next(before, None) or next(after, None)
        if at is None:
            break
        lines.append(line[begin:at])
        begin, room_now = at + 1, room
    return [*lines, line[begin:]]


def _may_break(line: str, at: int) -> bool:
    """Whether there is a single space, and nothing at it that a break would change."""
    return 0 < at < len(line) - 1 and line[at] == " " and line[at - 1] not in " \\" and line[at + 1] not in " #"


def literal(text: str, style: str, room: int) -> list[str] | None:
    """A text as a block, header first: `|`, or `>` with its paragraphs filled to `room`; None where none can say it."""
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    if not body.strip() or ends > 1 or _NO_TEXT.search(body.replace("\n", "").replace("\t", "")) or "\r" in body:
        return None
    lines = body.split("\n")
    if lines[0][:1] in ("", " ", "\t") or any(not line.strip() and line for line in lines):
        return None
    header = "-" if not ends else ""
    if style != ">" or any(line[:1] in (" ", "\t") for line in lines):
        return ["|" + header, *lines]
    filled: list[str] = []
    for index, line in enumerate(lines):
        if line and index:
            filled.append("")  # n breaks are said by n empty lines
        filled += folded(line, room, room) if line else [""]
    return [">" + header, *filled]
