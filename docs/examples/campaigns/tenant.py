"""An optimiser outside of labd, over REST: a tenant as FINALES2 knows them.

It looks whether the campaign asks something, works out points from all that was observed, and posts them. It keeps
nothing of its own: what it needs comes with each ask, so it may be stopped and started anywhere and any time, and an
answer that is posted twice is taken once.

    python tenant.py http://127.0.0.1:8040/api/v1 outside [SECONDS]

looks every SECONDS (default: 5), and needs `api: {listen: 127.0.0.1:8040}` in lab.yaml. Standard library only.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any


def propose(ask: Mapping[str, Any]) -> list[dict[str, float]]:
    """The points of one ask: halves the step about the best so far. Put your own optimiser here."""
    (dimension,) = ask["problem"]["space"]
    (wanted,) = ask["problem"]["objectives"]
    low, high, step, name = dimension["low"], dimension["high"], dimension["step"], dimension["name"]
    made = [one for one in ask["told"] if not one["failed"]]
    taken = {round((one["point"][name] - low) / step) for one in ask["told"]}
    taken |= {round((point[name] - low) / step) for point in ask["pending"]}
    if not made:
        centre, width = (low + high) / 2, (high - low) / 2
    else:
        best = min(made, key=lambda one: abs(one["values"][wanted["name"]] - wanted["target"]))
        value = best["values"][wanted["name"]]
        centre = best["point"][name] * wanted["target"] / value  # what it would be if mass went with volume
        width = (high - low) / 2 ** (2 + len(made))
    most = round((high - low) / step)
    points: list[dict[str, float]] = []
    for number in range(ask["count"]):
        at = round((centre + (number - (ask["count"] - 1) / 2) * width - low) / step)
        at = min((one for one in range(most + 1) if one not in taken), key=lambda one: abs(one - at))
        taken.add(at)
        points.append({name: low + at * step})
    return points


class Lab:
    """The REST interface of one daemon."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:  # noqa: S310 - who starts it says where
            return json.load(answer)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        content = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", content, {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)


def serve(lab: Lab, campaign: str, wait: float) -> None:
    """Answers all asks of a campaign until it has ended, and waits so many s between two looks."""
    while (state := lab.get(f"/campaigns/{campaign}"))["state"] != "ended":
        ask = lab.get(f"/campaigns/{campaign}/ask")
        if ask["ask"]:
            points = propose(ask)
            why = [f"{len(ask['told'])} observations seen"] * len(points)
            lab.post(f"/campaigns/{campaign}/asks/{ask['ask']}", {"points": points, "why": why, "by": "tenant"})
            print(f"ask {ask['ask']}: {points}")
        time.sleep(wait)
    print(f"{campaign}: {state['why']}; best {state['best']}")


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (2, 3):
        print("usage: tenant.py URL CAMPAIGN [SECONDS]", file=sys.stderr)
        return 2
    serve(Lab(arguments[0].rstrip("/")), arguments[1], float(arguments[2]) if len(arguments) > 2 else 5.0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
