"""`./tools/bench/run`: one JSON line on standard output for each case, narration on standard error."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys

from . import cases
from .harness import Case


def all_cases() -> dict[str, Case]:
    """Find the cases, one in each module of the folder."""
    modules = [
        importlib.import_module(f"{cases.__name__}.{found.name}") for found in pkgutil.iter_modules(cases.__path__)
    ]
    found = [module.CASE for module in modules]
    assert all(isinstance(case, Case) for case in found)
    return {case.name: case for case in found}


def measure(case: Case) -> None:
    """Measure one case in this process and print its line."""
    figures = asyncio.run(case.measure())
    line = {"case": case.name, **figures, "target": case.target, "python": platform.python_version()}
    sys.stdout.write(json.dumps({**line, "cores": os.cpu_count()}) + "\n")


def main() -> int:
    known = all_cases()
    parser = argparse.ArgumentParser(prog="./tools/bench/run", description="Measure what the project promises itself.")
    parser.add_argument("case", nargs="*", help=f"{', '.join(known)}; all of them where none is named")
    parser.add_argument("--here", action="store_true", help="measure in this process, as for a profiler")
    options = parser.parse_args()
    unknown = [name for name in options.case if name not in known]
    if unknown:
        parser.error(f"There is no case {', '.join(unknown)}. There are: {', '.join(known)}.")
    failed = 0
    for name in options.case or known:
        if options.here:
            measure(known[name])
        else:
            sys.stderr.write(f"== {name}: {known[name].target}\n")
            # A process for each case: what one leaves in memory must not count for the next.
            failed |= subprocess.run([sys.executable, "-m", __package__, "--here", name], check=False).returncode
    return 1 if failed else 0


sys.exit(main())
