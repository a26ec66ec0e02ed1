"""Tables of samples: read from files as people save them, and checked row by row with all that is wrong at once."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from labd.files import InputErrors
from labd.files.tables import Row, Table, read_table
from labd.lab.check import check_lab
from labd.protocol import LabFacts, load, standard_facts
from labd.run.facts import facts_of
from labd.run.queue.rows import Asked, Entry, Known, check_rows
from labd.run.shipped import find_protocol, library
from labd.sdk import Bounds

PROTOCOL = """\
labd: 1
protocol: dosing
version: 1.0.0
summary: Press one cell.
parameters:
  force: {type: quantity, min: 5 kN, max: 10 kN}
  dwell: {type: quantity, default: 2 s, min: 1 s, max: 10 s}
  times: {type: integer, default: 1, min: 1, max: 3}
  look: {type: boolean, default: false}
  store_at: {type: position, default: tray/cells/A1}
roles: {press: crimper}
start: crimp
states:
  crimp:
    steps:
      - {do: press.crimp, with: {force: =force, dwell: =dwell}}
    next: [{if: look and times > 1 and store_at == sample.position, go: done}, {go: done}]
  done: {end: complete}
"""
FACTS = LabFacts(standard_facts().roles, frozenset({"tray/cells/A1", "tray/cells/A2", "tray/cells/B1"}), frozenset())


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    file = path / "cells.csv"
    file.write_bytes(text.encode(encoding))
    return file


def workbook(path: Path, *rows: list[Any]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    file = path / "cells.xlsx"
    book.save(file)
    return file


def checked(table: Table, known: Known | None = None, *, again: bool = False, **parameters: Any) -> list[Entry]:
    asked = Asked(table.rows, parameters, 0, again, "cells.csv")
    return check_rows(load(PROTOCOL, "dosing.yaml"), asked, FACTS, known or Known())


def problems(table: Table, known: Known | None = None, **parameters: Any) -> list[str]:
    """All that is wrong: `T103 message → mend`, in order."""
    with pytest.raises(InputErrors) as found:
        checked(table, known, **parameters)
    return [f"{one.line} {one.code} {one.message} → {one.mend}" for one in found.value.problems]


def table(*rows: dict[str, Any]) -> Table:
    return Table(tuple(rows[0]), tuple(Row(number, dict(row)) for number, row in enumerate(rows, 2)))


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("sample,force\nc1,7.8 kN\n\nc2,8 kN\n", "utf-8"),
        ("sample;force\r\nc1;7,8 kN\r\n;\r\nc2;8 kN\r\n", "utf-8-sig"),
        ("sample\tforce\nc1\t7.8 kN\n\t\nc2\t8 kN\n", "utf-16"),
    ],
)
def test_csv_as_programs_of_all_countries_save_it(tmp_path: Path, text: str, encoding: str) -> None:
    found = read_table(written(tmp_path, text, encoding))
    assert found.columns == ("sample", "force")
    assert [(row.number, row.cells) for row in found.rows] == [
        (2, {"sample": "c1", "force": "7.8 kN"}),
        (4, {"sample": "c2", "force": "8 kN"}),
    ]


def test_the_line_by_which_excel_is_told_how_columns_are_parted_is_no_row(tmp_path: Path) -> None:
    found = read_table(written(tmp_path, "sep=;\r\nsample;force\r\nc1;7,8 kN\r\n"))
    assert [(row.number, row.cells) for row in found.rows] == [(3, {"sample": "c1", "force": "7.8 kN"})]


def test_a_decimal_comma_is_one_only_where_columns_are_parted_otherwise(tmp_path: Path) -> None:
    semicolons = read_table(written(tmp_path, "a;b;c\n7,8;-0,5 µL;a, b\n"))
    assert semicolons.rows[0].cells == {"a": "7.8", "b": "-0.5 µL", "c": "a, b"}
    commas = read_table(written(tmp_path, 'a,b\n"7,8",1\n'))
    assert commas.rows[0].cells == {"a": "7,8", "b": "1"}


def test_a_workbook_gives_numbers_texts_and_percentages(tmp_path: Path) -> None:
    file = workbook(tmp_path, ["Sample", "force [kN]", "share", "ok"], [412, 7.8, 0.1, True], [None] * 4, ["c2", 8.0])
    book = openpyxl.load_workbook(file)
    book.active["C2"].number_format = "0%"
    book.save(file)
    found = read_table(file)
    assert found.rows[0].cells == {"Sample": 412, "force [kN]": 7.8, "share": "10 %", "ok": True}
    assert (found.rows[1].number, found.rows[1].cells["force [kN]"]) == (4, 8)


def test_a_formula_without_its_value_is_told_and_not_taken_for_an_empty_cell(tmp_path: Path) -> None:
    with pytest.raises(InputErrors) as found:
        read_table(workbook(tmp_path, ["sample", "force"], ["c1", "=1+1"]))
    (problem,) = found.value.problems
    assert (problem.code, problem.line, problem.column) == ("T103", 2, 2)
    assert problem.mend == "open it in Excel and save it"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "the table is empty"),
        ("a.csv", b"sample,force\n", "no row under its headers"),
        ("a.csv", b"sample,force\nc1,7 \xb5L\n", "a.csv:2: T101 it is no UTF-8 text"),
        ("a.csv", b"sample,\nc1,7\n", "column B has no header"),
        ("a.csv", b"force,sample,force\n1,2,3\n", "the column `force` stands twice"),
        ("a.csv", b'a,b\n"1,2\n', "cannot be read as CSV"),
        ("a.xlsx", b"sample,force\n", "no Excel workbook"),
        ("a.xls", b"\xd0\xcf", "save it as .xlsx or .csv"),
        ("a.csv", b"a\n" + b"1\n" * 1001, "has 1001 rows"),
    ],
)
def test_what_is_no_table_is_told_with_a_mend(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputErrors) as found:
        read_table(tmp_path / name)
    assert said in str(found.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputErrors, match="No such file"):
        read_table(tmp_path / "cells.csv")


def test_without_openpyxl_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = workbook(tmp_path, ["sample"], ["c1"])
    real = builtins.__import__

    def none(name: str, *more: Any) -> Any:
        if name == "openpyxl":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(InputErrors, match=r"labd\[xlsx\]"):
        read_table(file)


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_headers_are_known_whatever_their_case_and_spaces_and_may_say_the_unit() -> None:
    first, second = checked(
        table(
            {
                " Force (N)": "7800",
                "DWELL [s]": 3,
                "Active Mass / mg": "12.4",
                "Store at": "tray/cells/A2",
                "# who": "eva",
            },
            {" Force (N)": "8 kN", "DWELL [s]": None, "Active Mass / mg": "0.01 g", "Store at": None, "# who": None},
        )
    )
    assert first.parameters["force"] == {"v": 7.8, "u": "kN"}
    assert (first.parameters["dwell"]["v"], second.parameters["dwell"]["v"]) == (3.0, 2.0)
    assert (first.active_mass, second.active_mass) == (pytest.approx(0.0124), pytest.approx(0.01))
    assert (first.about, second.about) == ({"who": "eva"}, {})
    assert second.parameters["store_at"] == "tray/cells/A1"


def test_micro_is_micro_however_it_is_typed() -> None:
    for unit in ("µg", "ug", "μg"):
        (entry,) = checked(table({f"active_mass [{unit}]": 12400, "force": "7 kN"}))
        assert entry.active_mass == pytest.approx(0.0124)


def test_numbers_of_excel_fit_every_kind_of_parameter() -> None:
    (entry,) = checked(table({"force [kN]": 7, "times": 2, "look": True, "sample": 412, "barcode": 9007199254740993}))
    assert (entry.parameters["times"], entry.parameters["look"]) == (2, True)
    assert (entry.sample, entry.barcode) == ("412", "9007199254740993")


def test_all_that_is_wrong_is_told_at_once_with_row_column_and_mend() -> None:
    told = problems(
        table(
            {"sample": "c1", "force": "7 kN", "barcode": "A", "position": "tray/cells/A1", "priority": 1},
            {"sample": "C 2", "force": "50 kN", "barcode": "A", "position": "tray/cells/A1", "priority": "high"},
            {"sample": "c1", "force": 7, "barcode": "B", "position": "tray/cells/A9", "priority": None},
            {"sample": "c4", "force": "7 µL", "barcode": None, "position": None, "priority": 2},
            {"sample": "c5", "force": None, "barcode": None, "position": None, "priority": 2},
        )
    )
    assert [line.split(":")[0] for line in told] == [
        "3 T103 row 3, column `sample`",
        "3 T103 row 3, column `force`",
        "3 T104 row 3, column `barcode`",
        "3 T105 row 3, column `position`",
        "3 T103 row 3, column `priority`",
        "4 T104 row 4, column `sample`",
        "4 T103 row 4, column `force`",
        "4 T105 row 4, column `position`",
        "5 T103 row 5, column `force`",
        "6 T103 row 6, column `force`",
    ]
    text = "\n".join(told)
    for mend in (
        "write `c-2`",
        "`A` stands in row 2 already",
        "`tray/cells/A1` stands in row 2 already",
        "`c1` stands in row 2 already",
        "write the unit in the header, `force [kN]`, or in the cell, `7 kN`",
        "`7 µL` is a volume",
        "did you mean `tray/cells/",
        "the cell is empty, and there is no default",
    ):
        assert mend in text


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Forse", "did you mean `force`?"),
        ("force [µL]", "µL is a volume, and `force` a force → write `force [kN]`"),
        ("force [kX]", "unknown unit `kX` → write `force [kN]`"),
    ],
)
def test_a_header_that_does_not_fit_is_told_once(header: str, said: str) -> None:
    (told,) = problems(table({header: "7"}, {header: "8"}))
    assert said in told


def test_columns_that_miss_clash_or_say_too_much_are_told() -> None:
    (missing,) = problems(table({"sample": "c1"}))
    assert "the column `force` is missing, and has no default → add it" in missing
    (twice,) = problems(table({"force": "7 kN", "Force [kN]": 7}))
    assert "are the same column" in twice
    (both,) = problems(table({"force": "7 kN"}), force="8 kN")
    assert "is given for all rows" in both
    (unit,) = problems(table({"force": "7 kN", "times [s]": 1}))
    assert "has a unit, and `times` has none" in unit


def test_a_value_for_all_rows_is_one_and_its_mistake_told_once() -> None:
    first, second = checked(table({"sample": "c1"}, {"sample": "c2"}), force="7 kN")
    assert first.parameters == second.parameters
    (told,) = problems(table({"sample": "c1"}, {"sample": "c2"}), force="70 kN")
    assert "P401 force: 70 kN" in told
    told_of = problems(table({"sample": "c1"}), force="7 kN", dwel="2 s")
    assert "did you mean `dwell`?" in told_of[0]


def test_a_sample_or_barcode_that_the_lab_has_is_refused_unless_it_is_meant() -> None:
    known = Known({"c1": "run-0001 was for it"}, {"QR-1": "c1"}.get)
    one = table({"sample": "c1", "force": "7 kN", "barcode": "QR-1"})
    (told,) = problems(one, known)
    assert "the lab has `c1` already: run-0001 was for it → give it another name; say --again" in told
    (entry,) = checked(one, known, again=True)
    assert (entry.sample, entry.barcode) == ("c1", "QR-1")
    (other,) = problems(table({"sample": "c2", "force": "7 kN", "barcode": "QR-1"}), known)
    assert "`QR-1` is the barcode of c1" in other


def test_a_name_and_a_code_never_mean_two_samples() -> None:
    known = Known({"c1": "run-0001 was for it"}, {"qr-1": "c1"}.get)
    (told,) = problems(table({"sample": "qr-1", "force": "7 kN"}), known)
    assert "`qr-1` is the barcode of c1" in told
    (told,) = problems(table({"sample": "c2", "barcode": "c1", "force": "7 kN"}), known)
    assert "`c1` is the name of another sample" in told
    (entry,) = checked(table({"sample": "c2", "barcode": "c2", "force": "7 kN"}), known)
    assert entry.barcode == "c2"
    (told,) = problems(table({"barcode": "x" * 129, "force": "7 kN"}), known)
    assert "one has at most 128 printable characters" in told


def test_what_the_lab_cannot_make_is_told_with_the_rows_of_it() -> None:
    held = PROTOCOL.replace("force: =force", "force: =force * times")
    asked = Asked(table({"force": "7 kN", "times": 1}, {"force": "7 kN", "times": 3}).rows, file="cells.csv")
    crimper = replace(FACTS.roles["crimper"], limits={"crimp.force": Bounds(None, 10.0)})
    limited = replace(FACTS, roles={**FACTS.roles, "crimper": crimper})
    with pytest.raises(InputErrors) as found:
        check_rows(load(held, "dosing.yaml"), asked, limited, Known())
    assert [problem.code for problem in found.value.problems] == ["T106"]
    assert "row 3: P208" in str(found.value)
    assert "row 2" not in str(found.value)


def test_a_part_is_not_given_to_two_samples() -> None:
    stocked = replace(FACTS, stock={"tray/cells/A2": "lid"})
    rows = table(
        *({"force": "7 kN", "store_at": place} for place in ("tray/cells/A1", "tray/cells/A1", "tray/cells/A2") * 2)
    )
    with pytest.raises(InputErrors) as found:
        check_rows(load(PROTOCOL, "dosing.yaml"), Asked(rows.rows, file="cells.csv"), stocked, Known())
    (problem,) = found.value.problems
    assert (problem.code, problem.message) == (
        "T105",
        "row 7, column `store_at`: `tray/cells/A2` stands in row 4 already",
    )


def test_the_example_holds_in_its_lab() -> None:
    examples = Path(__file__).parents[2] / "examples" / "simulated-lab"
    lab = check_lab(examples / "lab.yaml").lab
    assert lab is not None
    protocol = load(find_protocol("cr2032_dose_crimp_form"), "cr2032", library())
    rows = read_table(examples / "cells.csv").rows
    found = check_rows(protocol, Asked(rows, file="cells.csv"), facts_of(lab), Known())
    assert [entry.sample for entry in found] == [f"lp57-{number:02d}" for number in range(1, 9)]
    assert found[0].needs["materials"] == {"LP57": 20.0}
    assert found[0].needs["parts"] == {"lid": 1.0}
    assert (found[7].active_mass, found[7].about) == (pytest.approx(0.0128), {"operator": "eva"})


def test_without_a_table_so_many_samples_are_alike() -> None:
    asked = Asked([Row(1, {}), Row(2, {})], {"force": "7kN"}, 5)
    found = check_rows(load(PROTOCOL, "dosing.yaml"), asked, FACTS, Known())
    assert [(entry.sample, entry.priority) for entry in found] == [(None, 5), (None, 5)]
    with pytest.raises(InputErrors, match="the parameter `force` has no value"):
        check_rows(load(PROTOCOL, "dosing.yaml"), Asked([Row(1, {})]), FACTS, Known())
