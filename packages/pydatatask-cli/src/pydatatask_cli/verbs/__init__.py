"""The verbs of the command, in the order in which ``--help`` groups them."""

from .looking import status
from .running import run, update
from .values import cat, inject, ls

__all__ = ["VERBS"]

VERBS = (run, update, status, ls, cat, inject)
