"""Pairs as rows for `labd submit --table`, a row a cell. What is no parameter of a protocol is a note, `# …`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labd.lab.pairing.assign import Pairing

Rows = list[dict[str, Any]]


def rows_of(pairing: Pairing, prefix: str) -> Rows:
    """A row a pair, all with the same columns; columns in which nothing would stand are left away.

    The cell's active mass, specific capacity and capacity are its cathode's. Sample and barcode are the cathode's own
    where its table has them, else the anode's; a sample without a name is called `<prefix>-1` and so on.
    """
    rows = []
    for number, one in enumerate(pairing.pairs, 1):
        anode, cathode = one.anode, one.cathode
        mass = cathode.active_mass
        whole = cathode.specific_capacity
        rows.append(
            {
                "sample": cathode.sample or anode.sample or f"{prefix}-{number}",
                "barcode": cathode.barcode or anode.barcode,
                "active_mass": "" if mass is None else f"{mass * 1000:.6g} mg",
                "anode": anode.position,
                "cathode": cathode.position,
                "# specific_capacity": "" if whole is None or mass is None else f"{whole:.6g} mAh/g",
                "# capacity": f"{cathode.capacity:.6g} mAh",
                "# n_p_ratio": f"{one.ratio:.4f}",
                "# anode_id": anode.id,
                "# cathode_id": cathode.id,
                "# anode_lot": anode.lot,
                "# cathode_lot": cathode.lot,
            }
        )
    used = {name for row in rows for name, value in row.items() if value}
    return [{name: value for name, value in row.items() if name in used} for row in rows]


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes rows as CSV, or as a JSON list where the name ends in `.json`. Raises OSError."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        lines = csv.DictWriter(stream, list(rows[0]) if rows else ["sample"], lineterminator="\n")
        lines.writeheader()
        lines.writerows(rows)
