"""The files that a lab.yaml names: without them it is not whole."""

from __future__ import annotations

from pathlib import Path

from labd.lab.models import LabConfig

_SETTINGS = (".yaml", ".yml")


def named_files(config: LabConfig) -> dict[str, Path]:
    """Taught positions, calibrations, and the YAML files that drivers' settings name, by how they are written.

    Only those that are there. Passwords and keys of the broker are none of them.
    """
    found: dict[str, Path] = {}
    for device in config.devices.values():
        named = [str(path) for path in (device.positions, device.calibrations) if path is not None]
        named += [value for value in device.settings.values() if isinstance(value, str) and value.endswith(_SETTINGS)]
        for name in named:
            # a driver looks for its file where the daemon was started
            file = next((path for path in (config.base / name, Path(name)) if path.is_file()), None)
            if file is not None:
                found[name] = file.resolve()
    return found
