"""Fuzzing: `python tests/fuzz/fuzz.py`, or `make fuzz`.

Bytes for whatever reads bytes, and damaged containers for all commands, in processes that may crash. The seed
is printed, and the same seed gives the same inputs. Exit code 1: something was found; the inputs are in the
folder that is named, and belong into tests/fuzz/found/. Arguments name the targets; `fuzz.py case NAME/417`
repeats one container, and `fuzz.py input TARGET FILE` one input.

Environment
-----------
SIMARCHIVE_FUZZ_SECONDS
    How long: 300.
SIMARCHIVE_FUZZ_CONTAINERS
    How many containers at most; the time is then that which they take.
SIMARCHIVE_FUZZ_SEED
    A word.
SIMARCHIVE_FUZZ_FINDINGS
    A folder: fuzz-findings.
SIMARCHIVE_FUZZ_ENGINE
    ``own``, ``atheris``, which follows the code, or ``both``, half of the time each, if atheris is installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

from findings import Findings  # noqa: E402

NAMES = ("documents", "evaluator-json", "expressions", "units", "log", "chunks", "attributes")


def main() -> int:
    """Run all targets for the time that is given; return the exit code."""
    if sys.argv[1:2] == ["feed"]:
        from bytes_campaign import Page, feed

        name, seed, left, page, engine, folder, *only = sys.argv[2:]
        contents = [Path(path).read_bytes() for path in only]
        findings = Findings(Path(folder))
        feed(name, seed, float(left), Page(Path(page)), findings, engine=engine, only=contents)
        return 0
    seconds = float(os.environ.get("SIMARCHIVE_FUZZ_SECONDS", "300"))
    seed = os.environ.get("SIMARCHIVE_FUZZ_SEED", "simarchive-1")
    engine = os.environ.get("SIMARCHIVE_FUZZ_ENGINE") or default_engine()
    folder = Path(os.environ.get("SIMARCHIVE_FUZZ_FINDINGS", "fuzz-findings")).absolute()
    print(f"seed {seed}, {seconds:g} s, engine {engine}", flush=True)
    findings = Findings(folder)
    if sys.argv[1:2] == ["case"]:
        from mutated_containers import Campaign

        Campaign(findings).run_case(sys.argv[2])
        return bool(findings.seen)
    if sys.argv[1:2] == ["input"]:
        run_input(sys.argv[2], Path(sys.argv[3]).read_bytes(), findings)
        return bool(findings.seen)
    if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2 << 30:
        os.environ.setdefault("TMPDIR", "/dev/shm")  # syncs to a disk are not what is tested
    wanted = sys.argv[1:] or [*NAMES, "containers"]
    names = [name for name in NAMES if name in wanted]
    begin = time.monotonic()
    # Both halves at once: there are two cores, and each half is one process at a time.
    runs = []
    if names:
        runs.append(threading.Thread(target=_all_targets, args=(names, seed, seconds, findings, engine)))
        runs[0].start()
    if "containers" in wanted:
        import subprocess

        most = int(os.environ.get("SIMARCHIVE_FUZZ_CONTAINERS", "0"))
        code = (
            f"import sys; sys.path.insert(0, {str(HERE)!r}); from pathlib import Path\n"
            "from findings import Findings; from mutated_containers import Campaign\n"
            f"c = Campaign(Findings(Path({str(folder)!r}))); c.run({seed!r}, {seconds}, {most}); "
            "print(c.summary()); sys.exit(bool(c.findings.seen))"
        )
        if subprocess.run([sys.executable, "-c", code], check=False).returncode:
            findings.seen["containers"] = "see above"
    for run in runs:
        run.join()
    print(
        f"{len(findings.seen)} findings in {time.monotonic() - begin:.0f} s", folder if findings.seen else ""
    )
    return bool(findings.seen)


def _all_targets(names: list[str], seed: str, seconds: float, findings: Findings, engine: str) -> None:
    from bytes_campaign import campaign

    for name in names:
        try:
            engines = ("own", "atheris") if engine == "both" else (engine,)
            share_s = seconds / len(names) / len(engines)
            n = sum(campaign(name, f"{seed}-{name}", share_s, findings, engine=one) for one in engines)
            print(f"{name}: {n} inputs", flush=True)
        except RuntimeError as error:
            findings.add(name, "the fuzzer itself", str(error), b"")


def run_input(target: str, content: bytes, findings: Findings) -> None:
    """Feed one input to a target, or run all commands on one container."""
    if target == "container":
        from mutated_containers import Campaign

        Campaign(findings).run_content(content, "an input")
    else:
        from bytes_campaign import campaign

        campaign(target, "input", 0.1, findings, engine="own", only=content)


def default_engine() -> str:
    """Return the best engine that there is."""
    return "both" if importlib.util.find_spec("atheris") else "own"


if __name__ == "__main__":
    sys.exit(main())
