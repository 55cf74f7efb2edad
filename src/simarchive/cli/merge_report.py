"""What import, export, merge and subset say when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from simarchive.cli.failures import Findings
from simarchive.cli.output import TALK, count_text, print_done, print_json, print_line, print_notice
from simarchive.cli.streams import one_line
from simarchive.errors import IncompleteError

if TYPE_CHECKING:
    from simarchive.storage.merging import MergeReport


def report_merge(
    reports: Mapping[str, MergeReport],
    target: Path,
    *,
    as_json: bool,
    dry_run: bool = False,
    more: Mapping[str, object] | None = None,
) -> None:
    """Print what was copied from each source into `target`; JSON has `more`, too.

    Raises
    ------
    Findings
        If something could not be read; the command then leaves with the code of `IncompleteError`.
    """
    if as_json:
        sources = [{"path": source, **asdict(report)} for source, report in reports.items()]
        print_json({"target": str(target), "dry_run": dry_run, **(more or {}), "sources": sources})
    else:
        for source, report in reports.items():
            _print_report(source, report, target, dry_run=dry_run)
    if any(report.unreadable for report in reports.values()):
        raise Findings(IncompleteError.exit_code)


def _print_object(report: MergeReport, key: str, action: str) -> None:
    reason = f": {report.reasons[key]}" if key in report.reasons else ""
    print_done(f"  {one_line(key)} {action}{reason}")


def with_problems(report: MergeReport, source: object) -> MergeReport:
    """Return a report that also names what the source itself leaves out, and its remarks."""
    report.unreadable.update(getattr(source, "problems", {}))
    report.remarks += getattr(source, "remarks", [])
    return report


def _print_report(source: str, report: MergeReport, target: Path, *, dry_run: bool) -> None:
    would = " would be" if dry_run else ""
    parts = [f"{count_text(len(report.stored), 'object')}{would} stored"]
    if report.replaced:
        parts.append(f"{len(report.replaced):,} replaced")
    if report.kept:
        parts.append(f"{len(report.kept):,} there already")
    print_done(f"{source} -> {target}: {', '.join(parts)}")
    for key in report.replaced:
        _print_object(report, key, "replaced")
    for key in report.kept:
        if TALK.is_verbose or key in report.reasons:
            _print_object(report, key, "there already")
    for key in report.stored if TALK.is_verbose else ():
        _print_object(report, key, "stored")
    for old, new in report.new_keys.items():
        if old in report.stored:
            print_line(f"  {one_line(old)} is {new} there: another object has its key")
        else:
            print_line(f"  {one_line(old)} is {new} there")
    for remark in report.metadata:
        print_line(f"  {one_line(remark)}")
    for remark in report.remarks:
        print_notice(f"simarchive: {one_line(source)}: {one_line(remark)}")
    if report.unreadable:
        print_notice(f"simarchive: {count_text(len(report.unreadable), 'object')} left out:")
        for key, problem in report.unreadable.items():
            # The key stands there already.
            reason = problem.removeprefix(f"object {key!r} ")
            print_notice(f"  {one_line(key)}: {one_line(reason)}")
