"""Feeding one target: in a process that may crash, hang or grow, watched by one that cannot."""

from __future__ import annotations

import itertools
import json
import mmap
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from findings import MOST_BYTES, MOST_SECONDS, Findings, trace_of

_PAGE_BYTES = 1 << 21
_HEAD = 20
_GREW = 9
_ADDRESS_SPACE = 3 << 30


class Page:
    """The input that is being read, in memory that the watcher shares."""

    def __init__(self, path: Path) -> None:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(_PAGE_BYTES)
            self._map = mmap.mmap(file.fileno(), _PAGE_BYTES)

    def begin(self, data: bytes) -> None:
        data = data[: _PAGE_BYTES - _HEAD]
        self._map[8:12] = len(data).to_bytes(4, "little")
        self._map[_HEAD : _HEAD + len(data)] = data
        self._map[:8] = time.monotonic_ns().to_bytes(8, "little")

    def end(self) -> None:
        self._map[:8] = bytes(8)
        self._map[12:_HEAD] = (self.count + 1).to_bytes(8, "little")

    @property
    def count(self) -> int:
        return int.from_bytes(self._map[12:_HEAD], "little")

    @property
    def busy_s(self) -> float:
        """For how long the present input has been read; 0 between two."""
        since = int.from_bytes(self._map[:8], "little")
        return (time.monotonic_ns() - since) / 1e9 if since else 0.0

    @property
    def data(self) -> bytes:
        return self._map[_HEAD : _HEAD + int.from_bytes(self._map[8:12], "little")]


def feed(
    name: str,
    seed: str,
    seconds: float,
    page: Page,
    findings: Findings,
    *,
    engine: str,
    only: Sequence[bytes] = (),
) -> None:
    """Feed a target in this process until the time is over, or with these inputs only."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["simarchive"]):
            from targets import TARGETS
    else:
        from targets import TARGETS
    target = TARGETS[name]
    seeds = target.seeds()

    def read(data: bytes) -> None:
        page.begin(data)
        try:
            target.run(data)
        except target.allowed:
            pass
        except (Exception, RecursionError) as error:
            findings.add(name, "foreign exception", trace_of(error), data)
        page.end()
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MOST_BYTES:
            findings.add(name, "memory", "more than 1 GB", data)
            os._exit(_GREW)

    for data in only or seeds:
        read(data)
    if only:
        return
    end = time.monotonic() + seconds
    if engine == "atheris":
        with tempfile.TemporaryDirectory() as corpus:
            for number, data in enumerate(seeds):
                (Path(corpus) / str(number)).write_bytes(data)
            (Path(corpus) / "words").write_text("\n".join(map(_as_libfuzzer_word, target.words)))
            options = [
                f"-seed={random.Random(seed).randrange(1, 1 << 31)}",
                f"-max_total_time={int(seconds) or 1}",
            ]
            options += ["-max_len=65536", "-rss_limit_mb=0", "-timeout=600", "-verbosity=0"]
            options += [f"-handle_{signal}=0" for signal in ("segv", "bus", "abrt", "ill", "fpe")]
            options += [f"-dict={corpus}/words"] * bool(target.words)
            atheris.Setup([sys.argv[0], *options, corpus], read)
            atheris.Fuzz()
        return
    kept = list(seeds)
    rng = random.Random(seed)
    for number in itertools.count():
        if time.monotonic() > end:
            return
        from mutations import mutate

        data = mutate(rng, rng.choice(kept), seeds, target.words)[:65536]
        read(data)
        # Changes of changes, a few of them: mutation alone does not go deep.
        if number % 50 == 0 and len(kept) < 10 * len(seeds):
            kept.append(data)


def _as_libfuzzer_word(word: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in word[:64]) + '"'


def campaign(
    name: str, seed: str, seconds: float, findings: Findings, *, engine: str, only: bytes | None = None
) -> int:
    """Feed a target in processes of their own, one after the other as they die; return the number of inputs.

    With `only`, it is fed this input alone.
    """
    end = time.monotonic() + seconds
    total = 0
    for attempt in itertools.count():
        left = end - time.monotonic()
        if left <= 0:
            break
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            page = Page(Path(folder) / "page")
            arguments = ["feed", name, f"{seed}-{attempt}", str(left), str(Path(folder) / "page"), engine]
            arguments.append(str(findings.folder))
            if only is not None:
                (Path(folder) / "only").write_bytes(only)
                arguments.append(str(Path(folder) / "only"))
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("fuzz.py")), *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "TMPDIR": folder},
                text=True,
                errors="replace",
            )
            hangs = is_late = False
            while True:
                try:
                    out, err = process.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    if page.busy_s > MOST_SECONDS:
                        hangs = True
                        process.kill()
                    elif time.monotonic() > end + 60:
                        # To instrument the code takes long where the machine is busy: that is no finding.
                        is_late = True
                        process.kill()
            total += page.count
            for line in out.splitlines():
                if line.startswith('{"target"'):
                    found = json.loads(line)
                    findings.seen[f"{found['target']} {found['kind']} {found['what']}"] = found["input"]
                    print(line, flush=True)
            if hangs:
                findings.add(name, "hang", f"more than {MOST_SECONDS} s", page.data)
            elif process.returncode not in (0, _GREW) and not is_late:
                if not page.busy_s:
                    raise RuntimeError(f"the fuzzer itself failed:\n{err[-3000:]}")
                findings.add(name, "crash", f"exit {process.returncode}\n{err[-2000:]}", page.data)
            if only is not None or is_late or process.returncode == 0:
                break
    return total
