"""Python source as `ruff format` would lay it out, for the few forms that are generated."""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 120


def fitted(head: str, items: Sequence[str], tail: str, indent: int = 0) -> str:
    """`head` items `tail` on one line, with the items on a line of their own, or each on one."""
    space = " " * indent
    one = f"{space}{head}{', '.join(items)}{tail}"
    if len(one) <= WIDTH:
        return one
    inner = f"{space}    {', '.join(items)}"
    if len(inner) <= WIDTH:
        return f"{space}{head}\n{inner}\n{space}{tail}"
    lines = "".join(f"{space}    {item},\n" for item in items)
    return f"{space}{head}\n{lines}{space}{tail}"


def literal(value: Any) -> str:
    """A constant on one line; texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        inner = ", ".join(literal(one) for one in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def table(name: str, kind: str, rows: Mapping[str, Any]) -> str:
    """A mapping, each entry on a line; a tuple that is too long over several."""
    if not rows:
        return f"{name}: {kind} = {{}}"
    lines = [f"{name}: {kind} = {{"]
    for key, value in rows.items():
        line = f"    {literal(key)}: {literal(value)},"
        if len(line) <= WIDTH:
            lines.append(line)
        else:
            lines += [f"    {literal(key)}: (", *(f"        {literal(one)}," for one in value), "    ),"]
    return "\n".join([*lines, "}"])


def used(body: str) -> set[str]:
    """The names that a module's text uses and does not define at its top."""
    tree = ast.parse(f"from __future__ import annotations\n{body}")
    defined = {one.name for one in tree.body if isinstance(one, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))}
    for one in tree.body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    loaded = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
    return loaded - defined - set(dir(builtins))


def imports(names: Iterable[str], homes: Mapping[str, str], first_party: Sequence[str]) -> str:
    """The imports of names, in sections.

    Args:
        names: what is used.
        homes: the module of each name; `""` where the name itself is a module to import.
        first_party: packages that have a section of their own, after all others.
    """
    modules: dict[str, set[str]] = {}
    for name in sorted(set(names) & homes.keys()):
        modules.setdefault(homes[name] or name, set()).update([] if not homes[name] else [name])
    sections: dict[int, list[str]] = {}
    for module, members in sorted(modules.items(), key=lambda one: (bool(one[1]), one[0])):
        package = module.partition(".")[0]
        place = (
            2
            if package in first_party
            else 1
            if package in {"asyncua", "pydantic", "labd", "simulators", "pytest"}
            else 0
        )
        ordered = sorted(members, key=_rank)
        line = fitted(f"from {module} import ", ordered, "") if ordered else f"import {module}"
        if len(line.partition("\n")[0]) > WIDTH or "\n" in line:
            line = "".join([f"from {module} import (\n", *(f"    {one},\n" for one in ordered), ")"])
        sections.setdefault(place, []).append(line)
    found = ["from __future__ import annotations", *("\n".join(sections[place]) for place in sorted(sections))]
    return "\n\n".join(found)


def _rank(name: str) -> tuple[int, str]:
    """Constants, classes, then the rest, as isort orders by type."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name.lower()
