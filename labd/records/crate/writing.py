"""A crate on disk: its files, and `ro-crate-metadata.json` that says what each is and where it came from."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from labd import clock
from labd.records.crate.battinfo import document
from labd.records.crate.contents import Contents, Produced
from labd.records.errors import CrateError
from labd.records.record import run_record

METADATA, JOURNAL = "ro-crate-metadata.json", "journal.jsonl"
UNFIT = re.compile(r"[^\w.@-]+")  # in a file's name
HOME = "pkg:pypi/labd"  # a package's address, https://github.com/package-url/purl-spec


def write(contents: Contents, to: Path) -> Path:
    """Writes a crate: a folder, or one file when `to` ends in `.zip`. What was there before is replaced whole.

    Raises:
        CrateError: rocrate is not installed, or something else lies there.
        OSError: it cannot be written.
    """
    if to.is_dir() and any(to.iterdir()) and not _is_crate(to):
        raise CrateError(f"{to} is a folder with other things in it; name an empty one, or a new one")
    if to.suffix == ".zip" and to.is_file() and not _is_crate(to):
        raise CrateError(f"{to} lies there already and is no crate; name another")
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as beside:
        folder = Path(beside) / "crate"
        _Writer(contents, folder).write()
        if to.suffix == ".zip":
            packed = Path(beside) / "crate.zip"
            _pack(folder, packed)
            packed.replace(to)
        else:
            if to.is_dir():
                shutil.rmtree(to)
            folder.replace(to)
    return to


def _is_crate(there: Path) -> bool:
    """Whether what lies there is a crate of labd's and nothing else, so that another may take its place."""
    try:
        if there.is_dir():
            names = {str(one.relative_to(there)) for one in there.rglob("*") if not one.is_dir()}
            told = (there / METADATA).read_bytes()
        else:
            with zipfile.ZipFile(there) as packed:
                names, told = set(packed.namelist()), packed.read(METADATA)
        known = {unquote(entity["@id"]) for entity in json.loads(told)["@graph"]}
    except (OSError, zipfile.BadZipFile, NotImplementedError, KeyError, TypeError, ValueError):
        return False
    return JOURNAL in names and names <= known


def _pack(folder: Path, file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                packed.write(one, one.relative_to(folder))


class _Writer:
    """One crate while it is written."""

    def __init__(self, contents: Contents, folder: Path) -> None:
        try:
            from rocrate.rocrate import ROCrate
        except ImportError as error:
            raise CrateError("a crate needs rocrate: pip install 'labd[data]'") from error
        self.contents, self.folder = contents, folder
        self.crate = ROCrate(version="1.2")
        self.outputs: dict[str, list[str]] = {}  # ids of files by action, or by run where several actions gave them
        self.protocols: dict[str, str] = {}  # ids by text

    def write(self) -> None:
        contents = self.contents
        self.folder.mkdir()
        self._root()
        self._software()
        for name, text in contents.protocols().items():
            self._protocol(name, text)
        for name, device in contents.devices().items():
            self._device(name, device)
        for produced in contents.produced:
            self._produced(produced)
        for name, sample in contents.samples.items():
            self._sample(name, sample)
        for run in contents.runs:
            self._run(run)
        for name, text in contents.files.items():
            self._text(name, text, f"{name} of the {contents.kind}")
        rows = "".join(_line(row) for row in contents.extract.rows())
        about = "what the journal says of all this: each event with its hash and the hash of the one before it"
        self._text(JOURNAL, rows, about, kind="application/jsonl")
        self.crate.metadata.write(self.folder)

    # ── entities ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _root(self) -> None:
        contents, root = self.contents, self.crate.root_dataset
        root["name"] = f"{contents.name} of {contents.lab}"
        samples = ", ".join(contents.samples) or "no sample"
        root["description"] = f"The {contents.kind} {contents.name} of the lab {contents.lab}: {samples}"
        root["datePublished"] = clock.now().isoformat(timespec="seconds")
        root["publisher"] = {"@id": self._thing("#lab", "Organization", name=contents.lab)}
        if contents.licence is None:
            text = "Nobody has said under which licence these data may be used: ask the lab."
            licence = self._thing("#licence", "CreativeWork", name="not stated", description=text)
        elif contents.licence.startswith(("https://", "http://")):
            licence = self._thing(contents.licence, "CreativeWork", name=contents.licence)
        else:
            licence = self._thing("#licence", "CreativeWork", name=contents.licence)
        root["license"] = {"@id": licence}

    def _software(self) -> None:
        """labd, and the language that its protocols are written in."""
        version = self.contents.version
        more = {"version": version, "url": {"@id": HOME}}
        self._thing("#labd", "SoftwareApplication", name="labd", softwareVersion=version, **more)
        self._thing(HOME, "CreativeWork", name="labd")
        self._thing(
            "#protocol-language", "ComputerLanguage", name="labd's protocol language", alternateName="YAML", **more
        )

    def _protocol(self, name: str, text: str) -> None:
        language = {"programmingLanguage": {"@id": "#protocol-language"}}
        about, file = f"the protocol {name}, as it was run", f"protocols/{name}.yaml"
        self.protocols[text] = self._text(file, text, about, "application/yaml", "SoftwareSourceCode", **language)

    def _thing(self, id_: str, kind: str | list[str], **properties: Any) -> str:
        from rocrate.model.contextentity import ContextEntity

        kept = {name: value for name, value in properties.items() if value not in (None, "", [])}
        return str(self.crate.add(ContextEntity(self.crate, id_, properties={"@type": kind, **kept})).id)

    def _file(self, name: str, about: str, kind: str, more: str | None = None, **properties: Any) -> str:
        """Describes a file that lies in the folder already."""
        data = (self.folder / name).read_bytes()
        known = {"name": Path(name).name, "description": about, "encodingFormat": kind, "contentSize": str(len(data))}
        told = {"@type": ["File", more] if more else "File", **known, "sha256": hashlib.sha256(data).hexdigest()}
        return str(self.crate.add_file(dest_path=name, properties={**told, **properties}).id)

    def _text(
        self, name: str, text: str, about: str, kind: str = "text/plain", more: str | None = None, **properties: Any
    ) -> str:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return self._file(name, about, kind, more, **properties)

    def _json(self, name: str, value: Mapping[str, Any], about: str, kind: str = "application/json") -> str:
        return self._text(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n", about, kind)

    def _value(self, owner: str, name: str, value: Any) -> dict[str, str] | None:
        """A PropertyValue; quantities are told with their unit."""
        unit = None
        if isinstance(value, Mapping) and "v" in value:
            value, unit = value["v"], value.get("u")
        if isinstance(value, (Mapping, list)):
            value = json.dumps(value, ensure_ascii=False)
        if value is None:
            return None
        id_ = self._thing(f"{owner}/{name}", "PropertyValue", name=name, value=value, unitText=unit)
        return {"@id": id_}

    def _values(self, owner: str, values: Mapping[str, Any]) -> list[dict[str, str]]:
        told = (self._value(owner, name, value) for name, value in values.items())
        return [one for one in told if one is not None]

    def _device(self, name: str, device: Mapping[str, Any]) -> None:
        own = ("driver", "driver_version", "role", "firmware", "quality", "simulated", "seen")
        properties = {key: device.get(key) for key in own}
        for key, one in (device.get("calibrations") or {}).items():
            since, by = one.get("calibrated"), one.get("by")
            properties[f"calibration.{key}"] = (
                one["value"] + (f" on {since}" if since else "") + (f" by {by}" if by else "")
            )
        id_ = _id("device", name)
        told = self._values(id_, properties)
        more = {"model": device.get("model"), "serialNumber": device.get("serial"), "additionalProperty": told}
        self._thing(id_, ["IndividualProduct", "Thing"], name=name, **more)

    def _produced(self, produced: Produced) -> None:
        target = self.folder / produced.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(produced.path, target)
        id_ = self._file(produced.name, produced.about, produced.kind)
        whose = produced.action or produced.run
        self.outputs.setdefault(whose, []).append(id_)

    def _sample(self, name: str, sample: Mapping[str, Any]) -> None:
        away = {action: [f"../{file}" for file in files] for action, files in self.outputs.items()}
        file = f"samples/{UNFIT.sub('_', name)}"
        told = self._json(f"{file}.json", sample, f"the genealogy of {name}")
        linked = document(sample, away)
        about = f"{name} in the words of BattINFO"
        meant = self._json(f"{file}.jsonld", linked, about, "application/ld+json")
        address = linked["@context"]["CoinCell"]
        subject = [{"@id": told}, {"@id": meant}]
        self._thing(
            _id("sample", name), "Product", name=name, productID=name, additionalType=address, subjectOf=subject
        )

    def _run(self, run: str) -> None:
        events = self.contents.extract.of_run(run)
        record = run_record(events)
        file = self._json(f"runs/{run}/run.json", record, f"the record of {run}, as the journal has it")
        id_ = f"#{run}"
        done = [self._measured(action) for action in record["actions"] if action["action_id"] in self.outputs]
        used = sorted({action["device"] for action in record["actions"]})
        status = "Active" if record["ended"] is None else "Completed" if record["outcome"] == "complete" else "Failed"
        outcome = f"it ended as {record['outcome']}" if record["ended"] else "it is under way"
        lacks = [one.about for one in self.contents.produced if one.run == run and one.missing]
        protocol = self.protocols[record["source"]]
        self._thing(
            id_,
            "CreateAction",
            name=f"{run}: {record['protocol']} for {record['sample']}",
            description="; ".join(
                [f"{record['protocol']} {record['version']} for {record['sample']}", outcome, *lacks]
            ),
            agent=self._person(record["by"]),
            instrument=[{"@id": protocol}, {"@id": "#labd"}, *({"@id": _id("device", name)} for name in used)],
            object=[{"@id": _id("sample", record["sample"])}, *self._values(id_, record["parameters"])],
            result=_refs((file, *self.outputs.get(run, ()))),
            startTime=record["started"],
            endTime=record["ended"],
            actionStatus=self._status(status),
            error=outcome if status == "Failed" else None,
        )
        mentioned = [*self.crate.root_dataset.get("mentions", []), self.crate.get(id_)]
        self.crate.root_dataset["mentions"] = [*mentioned, *(self.crate.get(one) for one in done)]

    def _status(self, name: str) -> dict[str, str]:
        """Schema.org's word for how an action stands; the specification wants it described as well."""
        return {"@id": self._thing(f"http://schema.org/{name}ActionStatus", "ActionStatusType", name=name)}

    def _measured(self, action: Mapping[str, Any]) -> str:
        """A measurement that gave files."""
        id_ = f"#{action['action_id']}"
        return self._thing(
            id_,
            "CreateAction",
            name=f"{action['device']}.{action['action']}",
            instrument={"@id": _id("device", action["device"])},
            object=[{"@id": _id("sample", action["sample"])}, *self._values(id_, action["parameters"])],
            result=_refs(self.outputs[action["action_id"]]),
            startTime=action["sent"],
            endTime=action["ended"],
            actionStatus=self._status("Completed" if action["outcome"] == "done" else "Failed"),
        )

    def _person(self, name: str | None) -> dict[str, str] | None:
        if not name:
            return None
        return {"@id": self._thing(_id("person", name), "Person", name=name)}


def _refs(ids: Sequence[str]) -> Any:
    """References; a single one is no list, as the specification has it."""
    found = [{"@id": one} for one in ids]
    return found if len(found) != 1 else found[0]


def _id(kind: str, name: str) -> str:
    return f"#{kind}-{quote(name, safe='')}"


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
