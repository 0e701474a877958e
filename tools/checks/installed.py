"""Tells whether modules are imported from an environment, with their types; run by the Python of that environment."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main(environment: Path, modules: list[str]) -> None:
    for module in modules:
        found = importlib.util.find_spec(module)
        if found is None or found.origin is None:
            sys.exit(f"{module} is not installed")
        file = Path(found.origin)
        if not file.is_relative_to(environment):
            sys.exit(f"{module} is imported from {file}, which is not in {environment}")
        if not (file.parent / "py.typed").exists():
            sys.exit(f"{module} was built without its py.typed")
    sys.stdout.write(f"{', '.join(modules)}: installed in {environment}\n")


main(Path(sys.argv[1]), sys.argv[2:])
