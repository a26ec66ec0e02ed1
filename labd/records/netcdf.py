"""NetCDF, laid out as yadg 7 lays out its DataTree (dgbowl/yadg, docs: "yadg DataTree"): one group a measurement.

Each variable has `units`; its uncertainty stands beside it as `<name>_uncertainty`, and the variable points to that by
`ancillary_variables`. Points in time have the coordinate `uts`, seconds since the epoch; spectra have `freq`. What is
known besides is JSON in the attribute `original_metadata`: of the run at the root, of the action in its group.

labd knows no instrument's accuracy. The uncertainty that it tells is that of the last decimal with which values were
recorded (`yadg_uncertainty_source: sigfig`), evenly spread; where values have no last decimal there is none.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from labd.journal import SeriesInfo
from labd.records.analysis import resolution
from labd.records.errors import ExportError

NAMES = {"voltage": "Ewe", "current": "I", "frequency": "freq", "z_real": "Re(Z)", "z_imag": "-Im(Z)"}
"""yadg's names of our columns, as its extractor `eclab` has them; others keep ours. `-Im(Z)` has the other sign."""
UNITS = {"Ω": "Ohm"}


def xarray() -> Any:
    """The library, with the engine that writes. Raises ExportError: it is missing."""
    try:
        import h5netcdf
        import h5py  # h5netcdf's own way to the disk, which it does not ask for
        import xarray as xr
    except ImportError as error:
        raise ExportError("NetCDF needs xarray, h5netcdf, h5py: pip install 'labd[data]'; or export to csv") from error
    del h5netcdf, h5py
    return xr


def write(file: Path, read: Sequence[tuple[SeriesInfo, Mapping[str, array[float]]]], record: Mapping[str, Any]) -> None:
    """Writes a run: a group `<series>_<action>` for each series. `record` has when it is `exported`.

    Raises:
        ExportError: xarray is missing, or there is nothing to write.
    """
    xr = xarray()
    from labd.version import VERSION

    if not read:
        raise ExportError(f"{record['run']} has no samples; its record alone is what `labd show --json` tells")
    actions = {action["action_id"]: action for action in record["actions"]}
    groups = {
        f"{series.id}_{series.action or 'signals'}": _group(xr, series, columns, actions.get(series.id))
        for series, columns in read
    }
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), **groups})
    tree.attrs = {
        "layout": "yadg 7 DataTree",
        "provenance": "labd export",
        "labd_version": VERSION,
        "labd_export_date": record["exported"],
        "original_metadata": json.dumps(record, ensure_ascii=False),
    }
    tree.to_netcdf(file, engine="h5netcdf")


def _group(xr: Any, series: SeriesInfo, columns: Mapping[str, array[float]], action: Mapping[str, Any] | None) -> Any:
    import numpy as np

    began = datetime.fromisoformat(series.started).timestamp()
    spectrum = "frequency" in columns
    along = "freq" if spectrum else "uts"
    variables: dict[str, Any] = {}
    for name, unit in series.columns:
        values = np.asarray(columns[name], dtype=float)
        told = NAMES.get(name, name)
        if told != along:
            sign = -1.0 if told == "-Im(Z)" else 1.0
            _put(variables, told, along, sign * values, UNITS.get(unit, unit))
    units = {"units": "Hz"} if spectrum else {"units": "s"}
    points = columns["frequency"] if spectrum else [began + time for time in columns["time"]]
    coordinates: dict[str, Any] = {along: (along, np.asarray(points, dtype=float), units)}
    if spectrum:
        coordinates["uts"] = ((), began, {"units": "s"})
    about = {"series": series.id, "device": series.device, "channel": series.unit, "started": series.started}
    told_by = {key: (action or {}).get(key) for key in ("state", "action", "parameters", "result", "outcome")}
    metadata = json.dumps({**about, **told_by}, ensure_ascii=False)
    return xr.Dataset(variables, coordinates, {"original_metadata": metadata})


def _put(variables: dict[str, Any], name: str, along: str, values: Any, unit: str) -> None:
    """A variable, with its uncertainty where the values tell one."""
    attributes = {"units": unit} if unit else {}
    digit = resolution(values) if unit else None
    if digit is not None:
        beside = f"{name}_uncertainty"
        variables[beside] = (
            (),
            digit,
            {
                **attributes,
                "standard_name": f"{name!r} standard_error",
                "yadg_uncertainty_absolute": 1,
                "yadg_uncertainty_distribution": "rectangular",
                "yadg_uncertainty_source": "sigfig",
            },
        )
        attributes["ancillary_variables"] = beside
    variables[name] = (along, values, attributes)
