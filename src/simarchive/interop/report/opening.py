"""The section on how to open the container, with other programs too: examples for this very file."""

from __future__ import annotations

import shlex

from simarchive.container import layout
from simarchive.ground.texts import html_text
from simarchive.interop.report.gathering import Facts


def examples(facts: Facts) -> dict[str, str]:
    """Return programs that open the container, by the name of what runs them."""
    name = facts.name
    key, file, array = facts.example or ("KEY", "", "")
    place = f"/{layout.OBJECTS}/{key}"
    in_shell = shlex.quote(name)
    python = [
        "from simarchive import HDF5Storage",
        "",
        f"with HDF5Storage({name!r}, mode='r') as backend:",
        f"    stored = backend.load({key!r})",
        "    print(stored)",
    ]
    h5py = [
        "import json",
        "import h5py",
        "",
        f"with h5py.File({name!r}, 'r') as file:",
        f"    group = file[{place!r}]",
        f"    print(json.loads(group.attrs[{layout.DOCUMENT!r}]).keys())",
    ]
    r = ["library(ncdf4)", "", f"file <- nc_open({_r_text(name)})"]
    ncdump = [f"ncdump -h {in_shell}"]
    shell = [f"simarchive ls {in_shell}", f"simarchive show {in_shell} {key}"]
    if file:
        python.append(f"    backend.extract({key!r}, 'files')  # all files, byte for byte")
        shell.append(f"simarchive extract {in_shell} {key} -o files")
    if array:
        h5py.append(f"    print(group[{array!r}][:3], group[{array!r}].attrs[{layout.UNITS!r}])")
        variable = _r_text(f"{place[1:]}/{array}")
        r += [
            f"values <- ncvar_get(file, {variable})",
            "print(summary(as.vector(values)))",
            f"print(ncatt_get(file, {variable}, {_r_text(layout.UNITS)})$value)",
        ]
        ncdump.append(f"ncdump -v {shlex.quote(f'{place}/{array}')} {in_shell}")
    else:
        r.append("print(names(file$var))")
    r.append("nc_close(file)")
    return {
        "Command line": "\n".join(shell),
        "Python": "\n".join(python),
        "h5py, without simarchive": "\n".join(h5py),
        "ncdump": "\n".join(ncdump),
        "R": "\n".join(r),
    }


def _r_text(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def opening(facts: Facts) -> str:
    """Return the examples."""
    blocks = "".join(
        f'<div><h3>{html_text(name)}</h3><pre tabindex="0"><code>{_escaped_lines(text)}</code></pre></div>'
        for name, text in examples(facts).items()
    )
    return (
        "<p>The container is one HDF5 file, which any HDF5 or netCDF-4 program opens. Objects are groups:"
        " documents are JSON, arrays have units, and files are byte for byte what they were."
        " The command line and the first block of Python need <code>pip install simarchive</code>.</p>"
        f'<div class="codes">{blocks}</div>'
    )


def _escaped_lines(text: str) -> str:
    return "\n".join(map(html_text, text.split("\n")))
