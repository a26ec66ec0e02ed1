"""Protocols for others to call: by name, with actions, holds, questions and calls of their own."""

from __future__ import annotations

CALLEES = {
    "squeeze": """\
labd: 1
protocol: squeeze
version: 1.3.0
parameters:
  force: {type: quantity, min: 1 kN, max: 9 kN}
  turns: {type: integer, default: 1, min: 1, max: 2}
roles: {ram: crimper}
results: {peak: =pressed.peak_force, turns: =visits}
start: squeeze
states:
  squeeze:
    do: ram.crimp
    with: {force: =force}
    as: pressed
    watch: [{if: ram.force > 11 kN, go: {hold: Too hard., continue_at: [squeeze, spoilt]}}]
    catch: {rejected: ask, fault: spoilt}
    next: [{if: visits < turns, go: squeeze}, {go: squeezed}]
    max_visits: {times: 3, otherwise: spoilt}
  ask:
    ask: Is it sound?
    choices: {again: squeeze, spoilt: spoilt}
    within: 1 h
    otherwise: spoilt
  squeezed: {end: complete}
  spoilt: {end: scrapped}
cleanup: [{do: ram.open}]
""",
    "tally": """\
labd: 1
protocol: tally
version: 1.0.0
parameters: {from: {type: integer, default: 0, min: 0, max: 100}}
results: {to: =n}
start: add
states:
  add: {set: {n: =from + 1}, next: added}
  added: {end: complete}
""",
    "both": """\
labd: 1
protocol: both
version: 2.0.0
roles: {ram: crimper}
results: {peak: =pressed.peak, to: =counted.to}
start: go
states:
  go:
    steps:
      - parallel:
          one: [{call: squeeze@1, with: {force: 5 kN}, as: pressed}]
          two: [{call: tally@1, with: {from: 3}, as: counted}, {wait: 5 s}]
    next: gone
  gone: {end: complete}
""",
}
