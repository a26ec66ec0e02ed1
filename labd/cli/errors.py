"""How a command ends when it cannot do what was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

REFUSED = 1
"""Refused or failed."""
BAD_INPUT = 2


class CliError(Exception):
    """Ends the command with a message on stderr and an exit status.

    Args:
        message: what is wrong and how to mend it.
        status: REFUSED or BAD_INPUT.
        body: the daemon's own words, for `--json`.
    """

    def __init__(self, message: str, status: int = REFUSED, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {"error": {"code": "failed", "message": message, "problems": []}}

    def told(self, *, as_json: bool) -> str:
        if as_json:
            return json.dumps(self.body, ensure_ascii=False, indent=2)
        problems = len((self.body.get("error") or {}).get("problems") or ())
        return f"labd: {problems} problems\n{self}" if problems > 1 else f"labd: {self}"
