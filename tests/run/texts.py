"""Protocols that histories are made of: written for it, and made at random."""

from __future__ import annotations

import random
from functools import cache

from tests.protocol.strategies import Maker
from tests.run.conftest import ASSEMBLE

WAITS = """\
labd: 1
protocol: waits
version: 1.0.0
summary: Wait, ask, and keep a time window.
roles: {press: crimper}
start: rest
windows:
  - {from: rest.end, to: crimp.start, within: 30 min, otherwise: late}
states:
  rest:
    steps:
      - {do: press.open}
      - {wait: 10 min}
    next: ask
  ask:
    ask: Is it ready?
    choices: {go on: crimp, again: rest}
    within: 2 h
    otherwise: nobody
    max_visits: {times: 3, otherwise: nobody}
  crimp: {do: press.crimp, with: {force: 5 kN}, next: done}
  done: {end: complete}
  late: {end: scrapped}
  nobody: {end: scrapped}
"""
BUSY = """\
labd: 1
protocol: busy
version: 1.0.0
summary: Everything at once.
roles: {press: crimper, arm: arm, stat: potentiostat}
start: ready
windows:
  - {from: ready.end, to: squeeze.start, within: 2 h, at_least: 20 s, otherwise: late}
states:
  ready:
    steps:
      - parallel:
          press:
            - {do: press.open, within: 1 min}
            - {do: press.crimp, with: {force: 3 kN}, as: first}
          arm:
            - {do: arm.home}
            - {do: arm.pick, with: {place: tray/cells/F6}}
            - {wait: 30 s}
            - {do: arm.place, with: {place: tray/cells/F6}}
          look:
            - {ask: Is the box shut?, input: {type: boolean}, as: shut}
            - {do: stat.cell_off}
    catch: {timeout: look, fault: look}
    next: squeeze
  squeeze:
    steps:
      - repeat: {times: 2}
        steps:
          - {call: squeeze@1, with: {force: 5 kN}, roles: {ram: press}, as: squeezed}
          - {do: press.crimp, with: {force: 4 kN}, as: pressed, retry: {times: 2, if: rejected, delay: 5 s}}
      - {wait: {until: press.force < 1 kN, within: 10 min}}
    watch:
      - if: press.force > 9 kN
        for: 10 s
        go: {hold: Too hard., continue_at: [squeeze, form]}
      - {if: press.estop, go: look}
    catch: {rejected: look, unreachable: look, timeout: look}
    max_visits: {times: 3, otherwise: scrap}
    next: form
  form:
    do: stat.open_circuit
    with: {duration: 1 h, interval: 60 s}
    within: 2 h
    as: ocv
    watch: [{if: stat.voltage > 5 V, go: look}]
    next: done
  look:
    ask: Is it sound?
    choices: {again: squeeze, good: form, bad: scrap}
    within: 3 h
    otherwise: scrap
    max_visits: {times: 3, otherwise: scrap}
  done: {end: complete}
  scrap: {end: scrapped}
  late: {end: scrapped}
cleanup:
  - {do: press.open}
  - {do: arm.home}
  - {do: stat.cell_off}
"""
KINDS = {"press": "crimper", "arm": "arm", "cycler": "potentiostat"}
NEVER = frozenset({"constant_current", "constant_voltage", "cycle", "cyclic_voltammetry", "impedance"})
"""What toys refuse to do."""


@cache
def protocols(made: int = 12) -> tuple[str, ...]:
    """Those that are written here, and as many at random."""
    lucks = map(random.Random, range(made))
    at_random = (Maker(luck, size=3, kinds=KINDS, never=NEVER).text().replace("tray/", "tray/cells/") for luck in lucks)
    return (ASSEMBLE, WAITS, BUSY, ASSEMBLE, BUSY, *at_random)
