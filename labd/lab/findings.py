"""What does not hold in lab.yaml, collected until all of it can be told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from labd.expr import Flaw
from labd.files import InputErrors, Path, Problem, Source, in_order


@dataclass(slots=True)
class Findings:
    """Problems of one lab.

    Args:
        source: the file; None for a lab that was not read from one: then the path stands in the message.
        hide: takes what nobody may see out of a message.
    """

    source: Source | None
    problems: list[Problem] = field(default_factory=list)
    hide: Callable[[str], str] = str

    def tell(
        self, code: str, message: str, path: Path, mend: str = "", *, key: bool = False, warning: bool = False
    ) -> None:
        """Adds a problem of what stands at a path, or of its key."""
        message, mend = self.hide(message), self.hide(mend)
        if self.source is not None:
            problem = self.source.problem(code, message, path, mend, key=key)
        else:
            where = ".".join(str(part) for part in path)
            problem = Problem(code, f"{where}: {message}" if where else message, mend=mend)
        self.problems.append(replace(problem, severity="warning") if warning else problem)

    def inside(self, code: str, flaw: Flaw, path: Path, shift: int) -> None:
        """Adds a flaw of an expression in the text at a path, `shift` characters from its beginning."""
        if self.source is None:
            self.tell(code, flaw.message, path, flaw.mend)
            return
        offset = flaw.offset + shift
        problem = self.source.problem(code, flaw.message, path, flaw.mend, offset=offset, length=flaw.length)
        self.problems.append(problem)

    def add(self, problems: Iterable[Problem]) -> None:
        """Adds problems of another file."""
        self.problems += problems

    @property
    def hold(self) -> bool:
        """Whether nothing worse than a warning was found."""
        return all(problem.severity == "warning" for problem in self.problems)

    def settle(self) -> tuple[Problem, ...]:
        """The warnings. Raises InputErrors, with the warnings too, when there is an error."""
        if not self.hold:
            raise InputErrors(self.problems)
        return in_order(self.problems)
