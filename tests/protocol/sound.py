"""A sound protocol, and ways to spoil it."""

from __future__ import annotations

from labd.protocol import InputErrors, LabFacts, Problem, check, load

SOUND = """\
labd: 1
protocol: dose_and_crimp
version: 1.0.0
summary: Dose and crimp.
parameters:
  electrolyte: {type: material, default: LP57}
  volume: {type: quantity, default: 35 µL, min: 10 µL, max: 100 µL}
  force: {type: quantity, default: 7.8 kN, min: 5 kN, max: 10 kN}
  cycles: {type: integer, default: 3, min: 1, max: 500}
roles:
  robot: pipetting_robot
  press: crimper
  cycler: {role: potentiostat, channels: 1}
start: dose
states:
  dose:
    steps:
      - do: robot.transfer
        with: {volume: =volume, source: =electrolyte, destination: =sample.position}
        within: 90 s
        as: dosed
      - set: {tries: 0}
      - if: dosed.volume < 0.5 * volume
        then:
          - set: {tries: =tries + 1}
          - wait: 5 s
        else:
          - wait: 1 s
    next: crimp
  crimp:
    do: press.crimp
    with: {force: =force, dwell: 2 s}
    within: 60 s
    as: pressed
    max_visits: {times: 2, otherwise: scrap}
    catch: {rejected: look, timeout: {hold: The press is slow., continue_at: [crimp, scrap]}}
    next:
      - {if: pressed.peak_force < 0.95 * force and visits < 2, go: crimp}
      - {if: pressed.peak_force < 0.5 * force, go: hold}
      - {go: form}
  look:
    ask: The press refused to give {force}. Is it sound?
    choices: {keep it: form, scrap it: scrap}
    within: 30 min
    otherwise: scrap
    as: word
  form:
    steps:
      - ask: What does the cell weigh?
        input: {type: quantity, min: 1 g, max: 6 g}
        as: weight
      - do: cycler.cycle
        with: {current: 0.5 mA, upper: 4.2 V, lower: 2.8 V, cycles: =cycles}
        as: formed
    next: done
  done: {end: complete}
  scrap: {end: scrapped}
"""


def told_of(text: str, facts: LabFacts | None = None) -> list[Problem]:
    """All errors and warnings of a text, whether its shape or its meaning is wrong."""
    try:
        return check(load(text, "p.yaml"), facts)
    except InputErrors as errors:
        return list(errors.problems)


def problems_of(text: str, facts: LabFacts | None = None) -> list[Problem]:
    """All errors of a text."""
    return [problem for problem in told_of(text, facts) if problem.severity == "error"]


def warnings_of(text: str, facts: LabFacts | None = None) -> list[Problem]:
    """All warnings of a text that has no errors."""
    found = told_of(text, facts)
    assert [problem.render() for problem in found if problem.severity == "error"] == []
    return found


def spoilt(old: str, new: str) -> str:
    """The sound protocol with one piece replaced."""
    assert SOUND.count(old) == 1, f"{old!r} stands {SOUND.count(old)} times"
    return SOUND.replace(old, new)


def place_of(text: str, piece: str, skip: int = 0) -> tuple[int, int]:
    """Line and column, from 1, of a piece that stands once in a text."""
    assert text.count(piece) == 1, f"{piece!r} stands {text.count(piece)} times"
    index = text.index(piece) + skip
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1
