"""Commands that keep the journal: verify it, back it up, restore it. They need no daemon, and may run beside one."""

from __future__ import annotations

import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labd.cli.connection import login_name
from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Json, Lab

if TYPE_CHECKING:
    from labd.journal.archive import Manifest
    from labd.journal.restore import Restored
    from labd.journal.verify import Head, Verdict
    from labd.lab.models import LabConfig

journal = typer.Typer(help="Look after the journal.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.add_typer(journal, name="journal")
    app.command("backup")(backup)
    app.command("restore")(restore)


def _lab(lab: Path | None) -> LabConfig:
    """The lab that is meant. Raises CliError."""
    from labd.files import InputErrors
    from labd.lab.config import load_lab

    path = lab or Path("lab.yaml")
    if lab is None and not path.exists():
        raise CliError("there is no lab.yaml here; say which lab is meant with --lab lab.yaml", BAD_INPUT)
    try:
        return load_lab(path)
    except InputErrors as errors:
        raise CliError(str(errors), BAD_INPUT) from errors


# ── verify ───────────────────────────────────────────────────────────────────────────────────────────────────────
@journal.command("verify")
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="A journal.sqlite or a backup (default: the journal of the lab).")
    ] = None,
    *,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="[SEQ:]HASH", help="A last event noted earlier, which must still be there; repeatable."),
    ] = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Walk the journal's chain of hashes from its first event to its last, beside a daemon or without one.

    Ends with 1 when an event is missing or was changed. An end that was cut off shows only against a head that was
    noted down elsewhere: note the one that this command prints, and give it with --expect later.
    """
    from labd.journal.events import JournalError
    from labd.journal.verify import Head

    try:
        heads = [Head.read(text) for text in expect or ()]
    except ValueError as error:
        raise CliError(str(error), BAD_INPUT) from error
    path = file or _lab(lab).directory / "journal.sqlite"
    try:
        verdict = _checked(path, heads)
    except JournalError as error:
        raise CliError(str(error), BAD_INPUT) from error
    _tell(path, verdict, len(heads), as_json=as_json)
    if verdict.flaw is not None:
        raise typer.Exit(REFUSED)


def _checked(path: Path, heads: list[Head]) -> Verdict:
    from labd.journal.archive import BackupError
    from labd.journal.restore import unpack
    from labd.journal.verify import check

    if not (path.is_file() and tarfile.is_tarfile(path)):
        return check(path, heads)
    try:
        with tempfile.TemporaryDirectory(prefix="labd-verify-") as folder:
            unpack(path, Path(folder))
            return check(Path(folder) / "journal.sqlite", heads)
    except BackupError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"{path}: the backup cannot be unpacked: {error.strerror}") from error


def _tell(path: Path, verdict: Verdict, heads: int, *, as_json: bool) -> None:
    from labd.cli.views import say, show_json

    if as_json:
        told: dict[str, Any] = {"file": str(path), "whole": verdict.flaw is None, "events": verdict.events}
        told |= {"first_at": verdict.first_at, "last_at": verdict.last_at}
        told |= {"head": {"seq": verdict.seq, "hash": verdict.hash}}
        show_json({**told, "flaw": asdict(verdict.flaw) if verdict.flaw is not None else None})
        return
    span = f" from {verdict.first_at} to {verdict.last_at}" if verdict.events else ""
    if verdict.flaw is not None:
        say(f"{path}: broken: {verdict.flaw.text}", "red")
        say(f"{verdict.events} events{span}" if verdict.events else "")
        return
    say(f"{path}: whole, {verdict.events} events{span}", "green")
    if heads:
        say(f"all that was noted before is there ({heads})", "green")
    say(f"last event: {verdict.seq}:{verdict.hash}")


# ── backup ───────────────────────────────────────────────────────────────────────────────────────────────────────
def backup(
    file: Annotated[Path, typer.Argument(help="A new file: it will be a tar archive.")],
    *,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Copy journal, signals, lab.yaml and the files that it names into one file, while the lab goes on."""
    from labd.cli.views import say, show_json
    from labd.journal.backup import back_up
    from labd.lab.files import named_files

    config = _lab(lab)
    written = _told(
        back_up, file, config.directory, config.lab, (lab or Path("lab.yaml")).resolve(), named_files(config)
    )
    manifest, flaw = written.manifest, written.verdict.flaw
    if as_json:
        show_json({"file": str(file), **manifest.model_dump(mode="json"), "flaw": asdict(flaw) if flaw else None})
    else:
        size = sum(member.bytes for member in manifest.members)
        say(f"{file}: {len(manifest.members)} files, {size / 1e6:.1f} MB, {written.verdict.events} events", "green")
        say(f"last event: {manifest.journal.seq}:{manifest.journal.hash}")
    if flaw is not None:
        raise CliError(f"it is written, and its journal is broken: {flaw.text}. It cannot be restored from")


# ── restore ──────────────────────────────────────────────────────────────────────────────────────────────────────
def restore(
    file: Annotated[Path, typer.Argument(help="What `labd backup` wrote.")],
    *,
    lab: Annotated[
        Path, typer.Option(help="The lab.yaml whose store it is for; where there is none, the backup's is written.")
    ] = Path("lab.yaml"),
    replace: Annotated[
        bool, typer.Option("--replace", help="Move a journal that is there aside; nothing is deleted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a backup in the place of a lab's store. Stop the daemon first.

    The backup is looked through from end to end before anything is touched. When the daemon starts again, it holds
    every run that had not ended when the backup was made: the lab has gone on since, and somebody must look.
    """
    from labd.journal.restore import restore as put

    there = _lab(lab) if lab.exists() else None
    store = there.directory if there is not None else _store_in(file, lab)
    name = there.lab if there is not None else None
    restored = _told(put, file, store, lab.resolve(), lab=name, by=login_name(), replace=replace)
    if as_json:
        from labd.cli.views import show_json

        show_json(_as_json(restored, store))
    else:
        _tell_restored(restored, store, lab)


def _store_in(file: Path, lab: Path) -> Path:
    """The store that a backup's own lab.yaml names, were it at `lab`."""
    from labd.journal import archive

    def read() -> LabConfig:
        with archive.opened(file) as (tar, manifest), tempfile.TemporaryDirectory(prefix="labd-restore-") as folder:
            archive.unpack(tar, manifest, file, Path(folder), only=("lab.yaml",))
            return _lab(Path(folder) / "lab.yaml")

    if not lab.resolve().parent.is_dir():
        raise CliError(f"{lab}: there is no folder {lab.resolve().parent}; make it first", BAD_INPUT)
    config: LabConfig = _told(read)
    return (lab.resolve().parent / config.store).resolve()


def _as_json(restored: Restored, store: Path) -> dict[str, Any]:
    manifest: Manifest = restored.manifest
    return {
        "store": str(store),
        "backup": manifest.model_dump(mode="json"),
        "aside": str(restored.aside) if restored.aside else None,
        "written": [str(path) for path in restored.written],
        "kept": [str(path) for path in restored.kept],
        "beside": str(restored.beside) if restored.beside else None,
    }


def _tell_restored(restored: Restored, store: Path, lab: Path) -> None:
    from labd.cli.views import say

    manifest = restored.manifest
    say(f"{store}: restored to {manifest.at}, event {manifest.journal.seq}", "green")
    if restored.aside is not None:
        say(f"what stood there before is in {restored.aside}")
    for path in restored.written:
        say(f"written: {path}")
    for path in restored.kept:
        say(f"left as it is: {path}, which differs from the backup's; that one is in {restored.beside}", "yellow")
    say(f"start the lab with `labd serve --lab {lab}`; runs that had not ended are held until somebody has looked")


def _told(work: Any, *args: Any, **more: Any) -> Any:
    """Does it; its errors end the command in words."""
    from labd.journal import JournalError, SignalError
    from labd.journal.archive import BackupError

    try:
        return work(*args, **more)
    except (BackupError, JournalError, SignalError) as error:
        raise CliError(str(error)) from error
