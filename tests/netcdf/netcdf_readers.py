"""Print what a program that reads netCDF finds in objects of a container, as JSON; warnings are errors.

python -W error netcdf_readers.py READER CONTAINER KEY [KEY ...]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Found = dict[str, dict[str, Any]]


def with_netcdf4(path: str, keys: list[str]) -> dict[str, Found]:
    import netCDF4

    with netCDF4.Dataset(path) as file:
        return {key: _described(file["objects"][key]) for key in keys}


def with_h5netcdf(path: str, keys: list[str]) -> dict[str, Found]:
    import h5netcdf

    with h5netcdf.File(path, "r") as file:
        return {key: _described(file["objects"][key]) for key in keys}


def _described(group: Any) -> Found:
    return {
        name: {
            "dimensions": list(variable.dimensions),
            "shape": list(variable.shape),
            "units": _text(variable, "units"),
            "long_name": _text(variable, "long_name"),
            "first": float(variable[:].flat[0]),
        }
        for name, variable in group.variables.items()
    }


def _text(variable: Any, name: str) -> str | None:
    # netCDF4 has attributes of its own on the object, h5netcdf in a mapping.
    attributes = getattr(variable, "attrs", None)
    value = attributes.get(name) if attributes is not None else variable.__dict__.get(name)
    return value.decode() if isinstance(value, bytes) else value


def with_xarray(engine: str) -> Callable[[str, list[str]], dict[str, Found]]:
    def read(path: str, keys: list[str]) -> dict[str, Found]:
        import xarray

        found = {}
        for key in keys:
            with xarray.open_dataset(path, group=f"objects/{key}", engine=engine) as dataset:
                found[key] = {
                    str(name): {
                        "dimensions": list(variable.dims),
                        "shape": list(variable.shape),
                        "units": variable.attrs.get("units"),
                        "long_name": variable.attrs.get("long_name"),
                        "first": float(variable.values.flat[0]),
                    }
                    for name, variable in dataset.variables.items()
                }
        return found

    return read


READERS = {
    "netCDF4": with_netcdf4,
    "h5netcdf": with_h5netcdf,
    "xarray with netcdf4": with_xarray("netcdf4"),
    "xarray with h5netcdf": with_xarray("h5netcdf"),
}

if __name__ == "__main__":
    reader, container, *wanted = sys.argv[1:]
    print(json.dumps(READERS[reader](container, wanted)))
