"""Passwords that stand in lab.yaml where none belongs: neither the file's lines nor a message shows them.

Of `mqtt` and `users` all is hidden that is no known key with a value that may stand there: a password comes with a slip
of the key, a colon too many, or in a place where nobody looks for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from labd.files import Path, Problem, Source, Span

_NAMED = re.compile(r"(?i)pass|pas+w|pwd|secret|token")
_NAMED_ELSEWHERE = re.compile(r"(?i)(^|[_-])(pass|passphrase|pas+w\w*|pwd|secret|token)$")
_HERE = re.compile(r"(?i)mqtt|users?|broker|telemetry")
_BLOCK = re.compile(r"(?i)[\"']?(mqtt|users?|broker|telemetry)[\"']?[ \t]*:")
_KEY = re.compile(r"[A-Za-z_][\w-]*[\"']?[ \t]*:(\s|$)")
_IN_TEXT = re.compile(
    r"(?i)(?:\b(?!\w*file\b)\w*(?:pass|pas+w|pwd|secret|token)\w*[\"']?[ \t]*:[ \t]*|[\w.%-]+:(?=[^\s/@]+@))"
    r"(?P<secret>[^\s,}@][^\n,}@]*)"
)
_QUOTED = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"")
_WORD = re.compile(r"[^\s,:{}\[\]\"'`]{3,}")

_NAME, _FILE = re.compile(r"[A-Za-z0-9._-]{1,253}"), re.compile(r"[\w./~ -]+")
_NUMBER, _AMOUNT, _SWITCH = re.compile(r"-?\d[\d.]*"), re.compile(r"-?\d[\d.]* ?\w{0,7}"), re.compile(r"(?i)true|false")
_ROLE = re.compile("viewer|operator|engineer")
_MAY_STAND: Mapping[Path, re.Pattern[str]] = {
    ("mqtt",): _NAME,
    ("mqtt", "broker"): _NAME,
    ("mqtt", "port"): _NUMBER,
    ("mqtt", "home_assistant"): _SWITCH,
    ("mqtt", "backlog", "size"): _AMOUNT,
    ("mqtt", "backlog", "age"): _AMOUNT,
    ("mqtt", "broker", "host"): _NAME,
    ("mqtt", "broker", "port"): _NUMBER,
    ("mqtt", "broker", "user"): _NAME,
    ("mqtt", "broker", "password_file"): _FILE,
    ("mqtt", "broker", "tls"): _SWITCH,
    ("mqtt", "broker", "tls", "ca"): _FILE,
    ("mqtt", "broker", "tls", "cert"): _FILE,
    ("mqtt", "broker", "tls", "key"): _FILE,
}
_KNOWN = {str(part) for path in _MAY_STAND for part in path} | {"backlog", "users"}


@dataclass(slots=True)
class Secrets:
    """What of a file is not to be shown.

    Args:
        spans: places in its text.
        words: of messages.
        perhaps: words that are hidden only where a message quotes them.
    """

    spans: list[tuple[int, int]] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)

    def in_text(self, text: str) -> str:
        """The text with `*` for what is hidden; everything stays in its place."""
        signs = list(text)
        for start, end in self.spans:
            signs[start:end] = ["\n" if sign == "\n" else "*" for sign in signs[start:end]]
        return "".join(signs)

    def in_message(self, message: str) -> str:
        """A message without the words: those of a quotation take it all with them."""

        def hidden(found: re.Match[str]) -> str:
            quote, inner = found[0][0], found[0][1:-1]
            secret = any(inner == word or (len(word) > 3 and word in inner) for word in self.words | self.perhaps)
            return f"{quote}***{quote}" if secret else found[0]

        message = _QUOTED.sub(hidden, message)
        for word in sorted(self.words, key=len, reverse=True):
            if len(word) > 5:
                message = message.replace(word, "***")
        return message

    def shown(self, problems: Iterable[Problem], text: str) -> list[Problem]:
        """Problems that were found before anything was hidden, as they may be shown."""
        lines = self.in_text(text).split("\n")
        return [
            replace(
                one,
                source=lines[one.line - 1].rstrip("\r") if one.source and one.line <= len(lines) else one.source,
                message=self.in_message(one.message),
                mend=self.in_message(one.mend),
            )
            for one in problems
        ]


def secrets_of(source: Source, *, whole: bool) -> Secrets:
    """What is hidden of a file.

    Args:
        source: the file, with the places of all that was read.
        whole: whether it was read without a problem; else what stands near a secret is hidden by the looks of its text.
    """
    found = Secrets()
    _in_tree(source, found)
    if not whole:
        _in_blocks(source.text, found)
    for secret in _IN_TEXT.finditer(source.text):
        found.spans.append(secret.span("secret"))
        found.words.add(secret["secret"].strip(" \"'"))
    known = {*_KNOWN, "embedded", "engineer", "operator", "viewer", "true", "false", "localhost", "labd", "mqtts", ""}
    found.words = {cut for word in found.words for cut in (word, word[:60]) if word not in known}
    found.perhaps |= {part for word in found.words for part in re.findall(r"\w{4,}", word)}  # and a mend made of it
    found.perhaps -= known
    return found


def _in_tree(source: Source, found: Secrets) -> None:
    telling = {path[:-1] for path in source.keys if path and _NAMED.search(str(path[-1])) and path[-1] not in _KNOWN}
    for path, span in source.values.items():
        if span.value and not _may_be_shown(path, span.value):
            end = source.text.find("\n", max(span.start, span.end - 1))
            found.spans.append((span.start, end if end >= 0 else len(source.text)))
            found.words |= {span.value, span.value.strip()}
    for path, span in source.keys.items():
        if _hides_key(path, source.values.get(path), telling):
            found.spans.append((span.start, span.end))
            found.words.add(str(path[-1]))


def _may_be_shown(path: Path, value: str) -> bool:
    if not _HERE.fullmatch(str(path[0] if path else "")):
        return not any(isinstance(part, str) and _NAMED_ELSEWHERE.search(part) for part in path)
    if path[0] == "users":
        return len(path) == 2 and _ROLE.fullmatch(value) is not None
    pattern = _MAY_STAND.get(path)
    return pattern is not None and (pattern.fullmatch(value) is not None or (pattern is _NAME and _is_address(value)))


def _hides_key(path: Path, value: Span | None, telling: set[Path]) -> bool:
    """`{password: pre,hunter2}` has a key `hunter2` without a value."""
    if len(path) < 2 or not _HERE.fullmatch(str(path[0])):
        return False
    key = str(path[-1])
    if path[0] == "users" and len(path) == 2 and value is not None and _ROLE.fullmatch(value.value or ""):
        return re.fullmatch(r"[\w .-]+", key) is None
    if key in _KNOWN or _NAMED.search(key):
        return False
    return path[:-1] in telling or value is None or value.value == "" or re.fullmatch(r"[\w .-]+", key) is None


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _in_blocks(text: str, found: Secrets) -> None:
    """All that stands below `mqtt` and `users`, of a file that cannot be read as a tree, or not in whole."""
    inside, start = text.lstrip()[:1] == "{", 0
    for line in text.splitlines(keepends=True):
        begins = _BLOCK.match(line)
        if begins is not None:
            inside = True
        elif _KEY.match(line):
            inside = False
        if inside:
            at = begins.end() if begins is not None else 0
            found.spans.append((start + at, start + len(line.rstrip("\r\n"))))
            found.perhaps |= set(_WORD.findall(line[at:])) - _KNOWN
        start += len(line)
