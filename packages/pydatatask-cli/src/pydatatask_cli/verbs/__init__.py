"""The verbs of the command, in the order in which ``--help`` groups them."""

from .deleting import rm
from .looking import status, trace, why
from .running import launch, run, update
from .structure import completion, graph, shell, validate
from .values import cat, inject, ls

__all__ = ["VERBS"]

VERBS = (run, update, launch, status, trace, why, ls, cat, inject, rm, graph, validate, shell, completion)
