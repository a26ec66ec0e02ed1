"""The vocabulary: what can go wrong, in words that are the same for every device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Layer = Literal["message", "line", "power", "device"]


@dataclass(frozen=True, slots=True)
class Takes:
    """What a fault takes in `with`.

    Args:
        unit: of a quantity; `text` for a text, `pattern` for a regular expression.
        about: what it is.
        default: what it is when nothing is said.
        needed: whether it must be said.
        choices: of a text.
    """

    unit: str
    about: str
    default: object = None
    needed: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """One fault of the vocabulary.

    Args:
        about: what goes wrong.
        layer: `message` and `line` happen on every device's wire, `power` to every device; `device` only to those that
            declare it.
        takes: what it takes in `with`, by name.
        amount: the name of how much there is of it, where the device says in which unit.
    """

    about: str
    layer: Layer = "device"
    takes: Mapping[str, Takes] = field(default_factory=dict)
    amount: str | None = None


_WAY = Takes("text", "which messages", "replies", choices=("replies", "requests", "both"))
_MATCHING = Takes("pattern", "only messages in which this is found, as bytes in Latin-1")

WORDS: dict[str, Word] = {
    "drop": Word("messages are lost", "message", {"way": _WAY, "matching": _MATCHING}),
    "delay": Word(
        "messages come later, in their order",
        "message",
        {"delay": Takes("s", "how much later", needed=True), "way": _WAY, "matching": _MATCHING},
    ),
    "corrupt": Word(
        "bits of messages are flipped",
        "message",
        {"bits": Takes("1", "how many", 1.0), "way": _WAY, "matching": _MATCHING},
    ),
    "duplicate": Word("messages come twice", "message", {"way": _WAY, "matching": _MATCHING}),
    "reply_lost": Word(
        "the request takes effect, its reply never comes",
        "message",
        {"matching": Takes("pattern", "only requests in which this is found, as bytes in Latin-1")},
    ),
    "half_open": Word(
        "the connection stands, and nothing comes through it any more, either way",
        "line",
        {"kept": Takes("s", "how long the device keeps a connection that its client has left", 0.0)},
    ),
    "cut": Word("the connection is reset; a serial adapter is unplugged", "line"),
    "power_cycle": Word(
        "the device loses its power and gets it back", "power", {"off": Takes("s", "how long it is off", 5.0)}
    ),
    "busy_stuck": Word("it says that it is busy, for ever"),
    "busy_never": Word("it never says that it is busy, though it works"),
    "jam": Word("a movement sticks"),
    "drift": Word("what it measures creeps away", amount="rate"),
    "offset": Word("what it measures is off by so much", amount="by"),
    "leak": Word("something runs out or comes in where it must not", amount="share"),
    "dropped_pick": Word("what was picked is lost on the way"),
    "missed_pick": Word("what should be picked stays where it is"),
    "stuck_pick": Word("what was picked does not come off"),
    "estop": Word("the emergency stop is pressed; released when the fault ends"),
    "guard_open": Word("a guard or door is open"),
    "light_curtain": Word("something is in the light curtain"),
    "overload": Word("out of range, upwards"),
    "underload": Word("out of range, downwards"),
    "overheat": Word("it is too hot"),
    "standby": Word("it is in standby"),
    "stuck_valve": Word("a valve does not turn"),
    "unstable": Word("it never comes to rest"),
    "slow": Word("everything takes so many times longer", amount="factor"),
    "fail": Word("what it is told to do fails"),
    "ignored": Word("what it is told is not done, and nothing says so"),
    "refused": Word("what it is told is refused"),
    "crash": Word("what runs in it stops with an error"),
    "open_circuit": Word("a contact is off"),
    "taken": Word("another client has it"),
    "by_hand": Word("somebody has taken it over at its panel"),
    "dead_output": Word("an output does nothing", amount="output"),
}
"""A new word is one line here; a device that has it declares it in its `FAULTS`."""

COUNTERS = {
    "requests": "messages to the device",
    "replies": "messages from the device",
    "connections": "connections that were made to it (TCP)",
}
"""What `after` counts on every wire; devices declare more in their `COUNTERS`."""

ANYWHERE = tuple(word for word, its in WORDS.items() if its.layer != "device")
