"""Which role each command needs. The broker's ACL says who somebody is; what he may do is looked up here once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from labd.lab.access import Role

ROLES: tuple[Role, ...] = get_args(Role)

LEAST: Mapping[str, Role] = {
    "hold": "operator",
    "stop": "operator",
    "abort": "operator",
    "unhold": "operator",
    "answer": "operator",
    "acknowledge": "operator",
    "start": "operator",
    "submit": "operator",
    "cancel": "operator",
    "propose": "operator",
    "clear": "operator",
    "clear interlock": "engineer",
}
"""By verb, or verb and argument: the least role that may. No operator is ever kept from hold, stop and abort."""


def needed(verb: str, arguments: Mapping[str, Any]) -> Role:
    """The least role for a command; what nobody has thought of is the engineer's."""
    for name, value in arguments.items():
        if value is not None and (special := LEAST.get(f"{verb} {name}")) is not None:
            return special
    return LEAST.get(verb, "engineer")


def denied(users: Mapping[str, Role] | None, user: str, verb: str, arguments: Mapping[str, Any]) -> str | None:
    """Why a user may not give a command, or None.

    `users` are those of lab.yaml; None: it names nobody, and whoever reaches the broker may give every command.
    """
    if users is None:
        return None
    role = users.get(user)
    if role is None:
        return f"{user} is no user of this lab: lab.yaml names those who may command it under `users`"
    least = needed(verb, arguments)
    if ROLES.index(role) >= ROLES.index(least):
        return None
    what = next((f"{verb} of an {name}" for name in arguments if f"{verb} {name}" in LEAST), verb)
    return f"{user} is {role}, and {what} needs {least}: ask one, or have lab.yaml's `users` changed"
