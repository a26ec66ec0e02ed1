"""Runs the tests that failed once more, by themselves: `alone.py REPORT`, with the JUnit report of the run that failed.

0 when all of them pass now, which is said loudly; 1 when one fails again, or when the run ended for another reason than
tests that failed: a worker that crashed, a file that could not be collected, no report, no failure in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

LAST = Path(".pytest_cache/v/cache/lastfailed")
OTHER = ("crashed while running", "collection failure", "internal error")


def failed(report: Path, last: Path) -> tuple[list[str], str]:
    """The tests that failed, and why they are no reason to go on: empty when they may be tried again."""
    try:
        cases = ET.parse(report).getroot().iter("testcase")
        names = sorted(json.loads(last.read_text(encoding="utf-8")))
    except (OSError, ValueError, ET.ParseError) as error:
        return [], f"it left no report: {error}"
    for case in cases:
        for end in (*case.findall("failure"), *case.findall("error")):
            message = end.get("message") or ""
            if any(other in message for other in OTHER):
                return names, f"{case.get('name')}: {message}"
    if files := [name for name in names if "::" not in name]:
        return names, f"not collected: {', '.join(files)}"
    return names, "" if names else "no test failed"


def main(report: Path) -> int:
    names, why = failed(report, LAST)
    if why:
        print(f"the tests are not tried again: {why}", flush=True)
        return 1
    print(f"once more, alone: {', '.join(names)}", flush=True)
    again = [sys.executable, "-m", "pytest", "--lf", "--last-failed-no-failures", "none", "-n", "0"]
    if status := subprocess.run(again, check=False).returncode:
        print(f"failed twice, or was not found again (pytest ended with {status})", flush=True)
        return 1
    print(f"{'!' * 100}\npassed only when alone: {', '.join(names)}\n{'!' * 100}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
