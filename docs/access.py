"""Who may command a lab, and the broker's files of `deploy/`, from the code."""  # noqa: INP001 - beside a script

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labd.lab.config import load_lab
from labd.telemetry import limits, replies
from labd.telemetry.setup import plan_of
from labd.telemetry.setup.texts import acl, configuration
from labd.telemetry.users import LEAST, ROLES

DEPLOY = Path(__file__).parents[1] / "deploy" / "mosquitto"


def users() -> Iterator[str]:
    """The section of the page about MQTT."""
    yield "### Who may what"
    yield (
        "`users` in lab.yaml names who may command the lab, by login: `users: {anna: engineer, ben: operator, screen: "
        "viewer}`. The broker's ACL proves that the topic's USER is the login "
        "([secure MQTT](../how-to/secure-mqtt.md)), and the daemon looks up the role itself, answers `rejected` to "
        "others, and journals that. Who is not named may nothing. Without `users` everybody who can publish to `cmd/` "
        "may everything: that is for the embedded broker, which listens on this machine only and has no logins that "
        "could prove a name. With a broker of the network `labd check` warns of it (L214)."
    )
    lines = [f"| command | {' | '.join(ROLES)} |", f"|---{'|---' * len(ROLES)}|"]
    for what, least in LEAST.items():
        may = ["yes" if ROLES.index(role) >= ROLES.index(least) else "no" for role in ROLES]
        lines.append(f"| {what} | {' | '.join(may)} |")
    yield "\n".join(lines)
    yield (
        f"A command has {limits.LARGEST / 1e6:g} MB at most, its correlation data {limits.LONGEST} bytes, its response "
        f"topic {replies.MOST_BYTES} bytes and {replies.MOST_LEVELS} levels: to a longer one, or one with control "
        "characters, nothing is sent beside `reply/USER/`. "
        f"{limits.IN_HAND_OF_ONE} commands of a user, and {limits.IN_HAND} of all, may be "
        "without an answer at a time; hold, stop and abort are counted apart from the others. What is more is rejected "
        "with the words to give it again, and is not remembered: the same `command_id` may be sent again. A response "
        "topic below the user's own `reply/USER/` is served too: it is where the ACL lets labd write."
    )


def broker() -> dict[Path, str]:
    """Mosquitto's files of `deploy/`: what `labd mqtt setup` writes for the lab beside them."""
    plan = plan_of(load_lab(DEPLOY / "lab.yaml"))
    return {DEPLOY / "mosquitto.conf": configuration(plan), DEPLOY / "acl": acl(plan)}
