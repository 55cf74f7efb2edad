"""Run the steps of one page, in order, in the current directory; say where it prints something else.

From a command whose program is missing to the end of its block, nothing is run.

python run_page.py PAGE
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

from page_steps import WARNINGS, Step, is_printed, script_name, steps_of
from programs import named_in


def output_of(step: Step, page: Path, namespace: dict[str, object]) -> str:
    if step.kind == "python":
        # Tracebacks count lines from the top of the page.
        code = compile("\n" * step.line + step.text, str(page), "exec", dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        return printed.getvalue()
    command = ["bash", "-o", "pipefail", "-c", step.text]
    if step.kind == "script":
        Path(script_name(step)).write_text(step.text)
        command = [sys.executable, *WARNINGS, script_name(step)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    if step.kind == "script" and done.returncode:
        raise RuntimeError(f"exit code {done.returncode}\n{done.stdout.decode()}")
    return done.stdout.decode()


def main() -> int:
    page = Path(sys.argv[1])
    sys.path.insert(0, "")  # a page may write a module, and import it
    namespace: dict[str, object] = {"__name__": "__main__"}
    left_out = None
    for step in steps_of(page):
        if step.kind == "console" and not all(map(shutil.which, named_in(step.text))):
            left_out = step.line
        if step.line == left_out:
            continue
        try:
            output = output_of(step, page, namespace)
        except Exception:
            traceback.print_exc()
            print(f"{page}:{step.line}: failed\n{step.text}", file=sys.stderr)
            return 1
        if step.expected is not None and not is_printed(step.expected, output):
            print(f"{page}:{step.line}: printed\n{output}\ninstead of\n{step.expected}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
