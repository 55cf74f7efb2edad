"""`simarchive publish-check`: what a repository would miss in an archive."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import container_argument, json_option
from simarchive.cli.failures import Findings
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, print_json, print_line, print_table
from simarchive.cli.progress_bars import bytes_bar, objects_bar
from simarchive.errors import StorageError

if TYPE_CHECKING:
    from simarchive.storage.publication.check import PublicationReport

_SHOWN = 5


@click.command("publish-check", short_help="Name what a repository would miss in FILE.")
@container_argument
@click.option(
    "--ignore",
    metavar="KIND",
    multiple=True,
    help="Do not look for this, such as e-mail; repeat it for each.",
)
@json_option
@isolated_option("container")
def command(container: Path, ignore: tuple[str, ...], as_json: bool) -> None:
    """Name what a repository, or whoever gets FILE, would miss. FILE is not changed.

    That is: title, description, licence and authors; references and force fields that are not here;
    substances and states; topologies, and numbers of atoms and frames that do not agree; damage, as 'verify'
    finds it; empty files; home directories, user names and e-mail addresses in documents and files.

    Exit code 1 means that something was found, 0 that nothing was.

    \b
    Example:
      simarchive publish-check water.h5 --ignore e-mail
    """
    from simarchive.storage.publication.check import publish_check

    with (
        opening.for_reading(container) as backend,
        bytes_bar("verifying", None) as verified,
        objects_bar("looking", len(backend)) as looked_at,
    ):
        report = publish_check(backend, ignore=ignore, verified=verified, looked_at=looked_at)
    if as_json:
        print_json({**report.as_dict(), "path": str(container)})
    else:
        _print_report(container, report)
    if not report.ok:
        raise Findings(StorageError.exit_code)


def _print_report(container: Path, report: PublicationReport) -> None:
    objects, files = count_text(report.n_objects, "object"), count_text(report.n_members, "file")
    state = count_text(len(report.findings), "finding") if report.findings else "ready to be published"
    print_line(f"{container}: {objects}, {files}: {state}")
    for name, number in report.unknown_classes.items():
        print_line(
            f"  not checked: the meaning of {count_text(number, 'object')} of the unknown class {name}"
        )
    if not report.findings:
        return
    shown: Counter[str] = Counter()
    rows = []
    for finding in report.findings:
        shown[finding.kind] += 1
        if shown[finding.kind] <= _SHOWN:
            rows.append((finding.kind, finding.key[:8], finding.member or "", finding.message))
    print_table(("KIND", "OBJECT", "FILE", "WHAT WAS FOUND"), rows)
    for kind, number in shown.items():
        if number > _SHOWN:
            print_line(f"{kind}: {number - _SHOWN:,} more, see --json")
