"""What can go wrong on a command line, beside what the core says."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from pydatatask_core.errors import PydatataskError

__all__ = ["LoadError", "UnknownNameError", "UsageError", "did_you_mean"]


class UsageError(PydatataskError, ValueError):
    """What was asked for makes no sense, or is not among the things there are."""


class UnknownNameError(UsageError, LookupError):
    """No task or link has that name."""


class LoadError(PydatataskError):
    """The file or module that holds the pipeline cannot be loaded, or holds no single pipeline."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give a sentence that names what somebody may have meant, or else all there is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {_either(close)}?"
    return f"There is: {', '.join(names)}." if names else "There is none."


def _either(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
