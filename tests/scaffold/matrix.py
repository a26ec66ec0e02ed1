"""Every link with every role, held to the contract: `python -m tests.scaffold.matrix [--soak] [LINK] [ROLE]`.


Too slow for each change; the tests take each link and each role once.
"""

# ruff: noqa: T201
from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

from labd.scaffold import new_driver
from labd.scaffold.links import LINKS
from labd.scaffold.writing import available
from labd.sdk import ROLES
from labd.testing import CHECKS, subject


def broken(link: str, role: str, folder: Path, *, soak: bool) -> list[str]:
    """What of the contract the toy of a link and a role does not hold."""
    name = f"toy_{link}_{role}"
    written = new_driver(name, link, role, folder)
    sys.path.insert(0, str(folder))
    one = subject(written.reference, f"labd_{name}.simulator:SIMULATOR", folder / "tests" / "transcripts")
    found = []
    for check in CHECKS:
        if check.name.startswith("many_polls") and not soak:
            continue
        place = folder / f"{name}-{check}"
        place.mkdir()
        try:
            check.hold(one, place)
        except Exception:  # noqa: BLE001 - each is told
            found.append(f"{check}: {traceback.format_exc(limit=-3)}")
    return found


def main() -> int:
    arguments = [one for one in sys.argv[1:] if not one.startswith("-")]
    failed = 0
    for link in filter(available, LINKS):
        for role in ROLES:
            if any(one not in {link, role} for one in arguments):
                continue
            with tempfile.TemporaryDirectory() as folder:
                found = broken(link, role, Path(folder), soak="--soak" in sys.argv)
            print(f"{link} {role}: {'broken' if found else 'holds'}", flush=True)
            for problem in found:
                print(f"  {problem}", flush=True)
            failed += bool(found)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
