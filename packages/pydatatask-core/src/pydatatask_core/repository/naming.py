"""Naming a live resource before it is live: a location must be known while nothing is connected yet."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["name_client"]

_clients: dict[Callable[[], object], str] = {}
_lock = threading.Lock()


def name_client(client: Callable[[], object]) -> str:
    """Give a callable's name for locations, where its address is not known yet because nothing is open.

    It is the function's qualified name, with a number from the second callable of that name on. So it tells the
    callables of one process apart, and it is the same in the next process that makes them in the same order.
    """
    with _lock:
        if client not in _clients:
            name = getattr(client, "__qualname__", type(client).__qualname__)
            earlier = sum(1 for known in _clients.values() if known.partition("#")[0] == name)
            _clients[client] = f"{name}#{earlier + 1}" if earlier else name
        return _clients[client]
