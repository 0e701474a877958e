"""Imports every module of a package and looks up every name it exports; run by the Python that has it installed.

The conformance suites are left out: they need the extra that brings their test tools.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys


def main(package: str) -> None:
    folders = importlib.import_module(package).__path__
    names = [package, *(found.name for found in pkgutil.walk_packages(folders, f"{package}."))]
    chosen = [name for name in names if ".testing" not in name and not name.endswith(".__main__")]
    for name in chosen:
        module = importlib.import_module(name)
        for exported in getattr(module, "__all__", ()):
            getattr(module, exported)
    sys.stdout.write(f"{len(chosen)} modules of {package} import with its declared dependencies\n")


main(sys.argv[1])
