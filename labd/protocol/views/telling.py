"""`labd explain`: a protocol told in plain sentences, in the order in which a run meets its states."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from labd.protocol.checker import compiled
from labd.protocol.facts import LabFacts, standard_facts
from labd.protocol.loader import Protocol
from labd.protocol.model import EndState, State
from labd.protocol.parameters import parameter_types
from labd.protocol.program import Goto, Program
from labd.protocol.views.phrases import kind_words, listed, role_words, sentence, value_words, whole
from labd.protocol.views.sentences import Line, Sentences

WIDTH = 100


def tell(
    protocol: Protocol,
    facts: LabFacts | None = None,
    *,
    times: Mapping[str, str] | None = None,
    material: Sequence[str] = (),
    width: int = WIDTH,
) -> str:
    """The whole protocol in words. Raises InputErrors for one that fails its check.

    Args:
        protocol: which.
        facts: the lab's; without them the standard roles.
        times: in words, `10 min expected (1 min to 4 h)`: by state, of one visit; of the whole run under the name "".
        material: in words, what one run needs: `LP57 105 µL`, `3 tips`.
        width: of a line, in characters.
    """
    teller = _Teller(protocol, facts or standard_facts(), compiled(protocol, facts), times or {}, material)
    return "\n".join(_laid(teller.lines(), width)) + "\n"


def _laid(lines: Iterator[Line], width: int) -> Iterator[str]:
    for line in lines:
        mark = f"{line.mark} " if line.mark else ""
        start = " " * line.depth + mark
        found = textwrap.wrap(
            whole(line.text),
            width,
            initial_indent=start,
            subsequent_indent=" " * len(start) if line.hang < 0 else " " * line.hang,
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield "\n".join(found).replace("\u00a0", " ").rstrip() if line.text else ""


class _Teller:
    def __init__(
        self,
        protocol: Protocol,
        facts: LabFacts,
        program: Program,
        times: Mapping[str, str],
        material: Sequence[str],
    ) -> None:
        self.protocol = protocol
        self.program = program
        self.times = times
        self.material = material
        order = met(program)
        self.states = [name for name in order if program.states[name].end is None]
        self.ends = [name for name in order if program.states[name].end is not None]
        self.sentences = Sentences(protocol, facts, {name: number for number, name in enumerate(self.states, 1)})

    def lines(self) -> Iterator[Line]:
        """Everything, from the name to the ends."""
        file = self.protocol.file
        yield Line(f"{self.protocol.name} {self.protocol.version}" + (f": {file.summary}" if file.summary else ""))
        yield from self._needs()
        yield from self._parameters()
        yield from _headed("What happens")
        for number, name in enumerate(self.states, 1):
            yield from self._state(number, name, self.protocol.states[name])
        yield from self._windows()
        if file.cleanup:
            yield from _headed("When it is stopped, aborted or scrapped")
            yield from self.sentences.steps(file.cleanup, 2)
        yield from self._results()
        yield from _headed("How it ends")
        for name in self.ends:
            state = self.protocol.states[name]
            assert isinstance(state, EndState)
            summary = f" {sentence(state.summary)}" if state.summary else ""
            yield Line(f"{name}: {_ENDINGS[state.end]}{summary}", 2, "-")

    # ── what it needs ────────────────────────────────────────────────────────────────────────────────────────────
    def _needs(self) -> Iterator[Line]:
        needs = []
        for name, use in self.protocol.roles.items():
            kind = role_words(use.role)
            more = f", {use.channels} channels of it" if use.channels > 1 else ""
            needs.append(f"{kind} (`{name}`{more})" if name != use.role or more else kind)
        if needs:
            yield Line("")
            yield Line(f"It needs {listed(needs)}.")
        if self.material:
            yield Line(sentence(f"it uses {listed([*self.material])}"))
        if "" in self.times:
            yield Line(sentence(f"time: {self.times['']}"))

    def _parameters(self) -> Iterator[Line]:
        if not self.protocol.parameters:
            return
        yield from _headed("What is filled in before it starts")
        types = parameter_types(self.protocol, lambda *_: None)
        widest = max(len(name) for name in types)
        for name, kind in types.items():
            spec = self.protocol.parameters[name]
            default = f"; {value_words(spec.default)} unless told otherwise" if spec.default is not None else ""
            default = default or "; has to be given"
            summary = f"; {spec.summary}" if spec.summary else ""
            label = f"{name.ljust(widest)}  ".replace(" ", "\u00a0")
            yield Line(f"{label}{kind_words(spec, kind.type)}{default}{summary}", 2, "", widest + 4)

    # ── states ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _state(self, number: int, name: str, state: State) -> Iterator[Line]:
        assert not isinstance(state, EndState)
        mark = f"{number}."
        self.sentences.state = name
        if number > 1:
            yield Line("")
        yield Line(f"{name}: {sentence(state.summary)}" if state.summary else name, 0, mark)
        depth = len(mark) + 1
        if name in self.times:
            yield Line(sentence(f"time: {self.times[name]}"), depth)
        yield from self.sentences.body(state, depth)
        yield from self.sentences.ways(state, depth)

    def _windows(self) -> Iterator[Line]:
        windows = self.protocol.file.windows
        if not windows:
            return
        yield from _headed("Times that must be kept")
        for window in windows:
            begin, finish = _edge(window.from_), _edge(window.to)
            if window.within is not None:
                led = self.sentences.target(window.otherwise if window.otherwise is not None else "hold")
                text = f"from {begin} to {finish} no more than {value_words(window.within)} may pass; else {led}"
                yield Line(sentence(text), 2, "-")
            if window.at_least is not None:
                text = f"{finish} waits until {value_words(window.at_least)} have passed since {begin}"
                yield Line(sentence(text), 2, "-")

    def _results(self) -> Iterator[Line]:
        results = self.protocol.file.results
        if results:
            yield from _headed("What it gives to a protocol that calls it")
            for name, raw in results.items():
                yield Line(f"{name}: {value_words(raw)}", 2, "-")


_ENDINGS = {
    "complete": "the run is complete.",
    "scrapped": "the sample is scrapped.",
    "stopped": "the run is stopped.",
    "aborted": "the run is aborted, and its devices are made safe.",
}


def _headed(title: str) -> Iterator[Line]:
    yield Line("")
    yield Line(title)


def _edge(text: str) -> str:
    name, _, side = text.partition(".")
    return f"the {side} of {name}"


def met(program: Program) -> list[str]:
    """The states in the order in which a run meets them; a state that several lead to comes after these."""
    found: dict[str, None] = {}
    order: list[str] = []

    def walk(start: str) -> None:
        part: list[str] = []
        found[start] = None
        path = [(start, iter([*_following(program, start)][::-1]))]
        while path:
            name, rest = path[-1]
            target = next(rest, None)
            if target is None:
                path.pop()
                part.append(name)
            elif target not in found:
                found[target] = None
                path.append((target, iter([*_following(program, target)][::-1])))
        order.extend(reversed(part))

    walk(program.start)
    for name in program.states:
        if name not in found:  # only a person leads there, after a hold, or a window that expired
            walk(name)
    return order


def _following(program: Program, state: str) -> Iterator[str]:
    """Where a state leads, its ordinary way, which is the last, first."""
    ways = [way.state for _, way in program.states[state].ways if isinstance(way, Goto)]
    yield from dict.fromkeys([*ways[-1:], *ways, *program.successors(state, held=False)])
