"""The page as a whole: sections in a frame, with a policy that forbids the browser every request.

Only the scripts of this package run: the policy names their SHA-256, so nothing that a container holds could
run even if it were not escaped. The viewer of structures is one of them; it lies packed in pages that have
structures, and is unpacked when somebody opens one.

References
----------
Content Security Policy Level 3, W3C: https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import string
from importlib import resources
from pathlib import Path

from simarchive.errors import ConflictError, NotFoundError
from simarchive.ground.filesystem import error_of, whole_file
from simarchive.ground.texts import html_text
from simarchive.ground.version import __version__
from simarchive.interop.report import contents, objects, opening, states
from simarchive.interop.report.gathering import Facts

MARK = "<!doctype html>\n<!-- A report by simarchive"
"""How every report begins; another file is not replaced by one."""

SECTIONS = (
    ("overview", "What is inside", contents.overview),
    ("composition", "Composition and states", states.composition),
    ("observables", "Observables", states.observables),
    ("objects", "Objects", objects.section),
    ("sizes", "Sizes and compression", contents.sizes),
    ("integrity", "Integrity", contents.integrity),
    ("open", "How to open it", opening.opening),
)


def page_of(facts: Facts) -> str:
    """Return the page: HTML that needs nothing but itself."""
    style, script = _template("page.css"), _template("page.js")
    viewer = _template("3Dmol-min.js", folder="viewer") if facts.drawings.lines else ""
    sections = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>'
        f"{made(facts)}</section>"
        for name, title, made in SECTIONS
    )
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in SECTIONS)
    # Substituted once: what comes from the container is not looked through again.
    return string.Template(_template("page.html")).substitute(
        mark=MARK,
        version=html_text(__version__),
        style_digest=_digest(style),
        script_digests=" ".join(f"'sha256-{_digest(text)}'" for text in (script, viewer) if text),
        title=html_text(contents.title_of(facts)),
        made_at=html_text(facts.made_at),
        style=style,
        links=links,
        sections=sections,
        data=objects.data(facts),
        script=script,
        viewer=base64.b64encode(gzip.compress(viewer.encode(), 9, mtime=0)).decode() if viewer else "",
    )


def write_report(facts: Facts, destination: Path) -> int:
    """Write the page to a file, which gets its name when it is complete; return its size in bytes.

    An earlier report is replaced.

    Raises
    ------
    ConflictError
        If another file is there, which stays as it is.
    NotFoundError
        If there is no such folder.
    StorageIOError
        If the file cannot be written.
    """
    check_destination(destination)
    page = page_of(facts).encode("utf-8", "backslashreplace")
    try:
        with whole_file(destination) as fd, os.fdopen(fd, "wb", closefd=False) as file:
            file.write(page)
    except OSError as error:
        raise error_of(error, f"'{destination}' cannot be written: {error.strerror}") from error
    return len(page)


def check_destination(destination: Path) -> None:
    """Check that a report may be written to a place; errors as those of `write_report`."""
    if not destination.parent.is_dir():
        raise NotFoundError(f"there is no folder '{destination.parent}': make it first")
    try:
        with destination.open("rb") as file:
            start = file.read(len(MARK))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConflictError(f"'{destination}' is no file that a report replaces: name another") from error
    if start != MARK.encode():
        raise ConflictError(f"'{destination}' exists already and is no report: name another file")


def _template(name: str, *, folder: str = "template") -> str:
    return resources.files(__package__).joinpath(folder, name).read_text("utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
