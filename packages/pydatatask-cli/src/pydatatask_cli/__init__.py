"""The pydatatask command."""

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
