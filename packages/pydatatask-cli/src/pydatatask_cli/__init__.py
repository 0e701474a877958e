"""The pydatatask command, for scripts: ``main``, and what its verbs do as coroutines.

What is here is loaded when it is first used, so that ``--help`` and completion need not load all of pydatatask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import main
    from .scripting import (
        cat_data,
        delete_data,
        inject_data,
        launch,
        list_data,
        print_status,
        print_trace,
        run,
        shell,
        update,
    )

__all__ = [
    "cat_data",
    "delete_data",
    "inject_data",
    "launch",
    "list_data",
    "main",
    "print_status",
    "print_trace",
    "run",
    "shell",
    "update",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".app" if name == "main" else ".scripting", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
