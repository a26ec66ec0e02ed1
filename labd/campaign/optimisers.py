"""Optimisers by name. Each is loaded when it is first asked for: the daemon starts without numpy."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, cast

from labd.campaign.problem import CampaignError, Optimiser

OPTIMISERS = {
    "random": "labd.campaign.designs:Random",
    "latin": "labd.campaign.designs:Latin",
    "grid": "labd.campaign.designs:Grid",
    "ofat": "labd.campaign.designs:OneFactor",
    "gp": "labd.campaign.bayesian:Bayesian",
    "baybe": "labd.campaign.baybe:BayBE",
}

_NEEDED = {"gp": ("scipy", "labd[data]"), "baybe": ("baybe", "labd[bo]")}


def lacking(name: str) -> str | None:
    """What an optimiser needs and is not installed here, in words, or None; nothing is loaded for it."""
    package, extra = _NEEDED.get(name, ("", ""))
    if not package or importlib.util.find_spec(package) is not None:
        return None
    return f"optimiser {name} needs {package}: pip install '{extra}'"


def optimiser(name: str, **settings: Any) -> Optimiser:
    """The optimiser of a name, with its own settings.

    Raises:
        CampaignError: there is none of this name, it has no such setting, or a library that it needs is missing.
    """
    if name not in OPTIMISERS:
        raise CampaignError(f"there is no optimiser {name!r}: there are {', '.join(OPTIMISERS)}")
    module, _, kind = OPTIMISERS[name].partition(":")
    try:
        made = getattr(importlib.import_module(module), kind)(**settings)
    except ImportError as error:
        _, extra = _NEEDED.get(name, ("", "labd[data]"))
        raise CampaignError(f"optimiser {name} needs {error.name}: pip install '{extra}'") from error
    except TypeError as error:
        raise CampaignError(f"optimiser {name}: {error}") from error
    return cast("Optimiser", made)
