"""Live resources, declared where nothing runs yet and opened where the event loop is.

A live object such as an HTTP client belongs to the event loop it was opened on. So a session holds one scope
per running loop: worker threads and processes open the resources they need once more, for themselves.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from typing_extensions import override

from .errors import ConfigurationError, SessionClosedError

__all__ = ["Resource", "Session"]

T = TypeVar("T", covariant=True)


class Resource(Generic[T]):
    """What :meth:`Session.resource` returns: call it to get the live object of the running event loop."""

    def __init__(self, session: Session, factory: Callable[[], AsyncIterator[T]]) -> None:
        self.session = session
        self._factory = factory
        functools.update_wrapper(self, factory)
        self.name: str = getattr(factory, "__qualname__", repr(factory))

    @override
    def __repr__(self) -> str:
        return f"<Resource {self.name}>"

    def __call__(self) -> T:
        """Give the live object.

        :raises SessionClosedError: if the session is not open on the running event loop.
        """
        return self.session.live(self)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[T]:
        """Run the generator function around a block.

        :raises ConfigurationError: if it does not yield exactly once.
        """
        made: object = self._factory()
        if isinstance(made, Coroutine):
            made.close()
        if not isinstance(made, AsyncGenerator):
            raise ConfigurationError(
                f"Session resource {self.name!r} is no async generator function. "
                "Write it as 'async def' with exactly one 'yield'."
            )
        generator: AsyncGenerator[T, None] = made
        try:
            live = await anext(generator)
        except StopAsyncIteration:
            raise ConfigurationError(
                f"Session resource {self.name!r} ended without a yield. It must yield exactly one object."
            ) from None
        yield live
        try:
            await anext(generator)
        except StopAsyncIteration:
            return
        await generator.aclose()
        raise ConfigurationError(f"Session resource {self.name!r} yielded twice. It must yield exactly one object.")


class _Scope:
    """What is open on one event loop."""

    def __init__(self) -> None:
        self.live: dict[object, object] = {}
        self.opened: list[tuple[Resource[object], AbstractAsyncContextManager[object]]] = []

    async def enter(self, resource: Resource[object]) -> None:
        """Open a resource, and before it those of its session that it turns out to use."""
        if resource in self.live:
            return
        while True:
            context = resource.opened()
            try:
                self.live[resource] = await context.__aenter__()
            except SessionClosedError as error:
                used = error.resource
                if not isinstance(used, Resource) or used is resource or used.session is not resource.session:
                    raise
                if used in self.live or not resource.session.declares_before(used, resource):
                    raise
                await self.enter(used)
            else:
                self.opened.append((resource, context))
                return

    async def close(self) -> list[BaseException]:
        failures: list[BaseException] = []
        while self.opened:
            resource, context = self.opened.pop()
            try:
                await context.__aexit__(None, None, None)
            except BaseException as error:  # noqa: BLE001  # collected; the caller raises all of them
                error.add_note(f"while closing session resource {resource.name!r}")
                failures.append(error)
            self.live.pop(resource, None)
        return failures


def _all_of(message: str, errors: list[BaseException]) -> BaseException:
    """Make one error of several. A cancellation stays one, or its task would not count as cancelled."""
    cancelled = [error for error in errors if isinstance(error, asyncio.CancelledError)]
    others = [error for error in errors if not isinstance(error, asyncio.CancelledError)]
    group = BaseExceptionGroup(message, others) if others else None
    if not cancelled:
        assert group is not None
        return group
    cancelled[0].__cause__ = group
    return cancelled[0]


class Session:
    """Resources that are opened together, in order of declaration, and closed together, in reverse.

    Opening is all or nothing. Closing closes every resource whatever fails on the way. A session can be opened
    again after it was closed, and on several event loops at the same time.
    """

    def __init__(self) -> None:
        self._resources: list[Resource[object]] = []
        self._scopes: dict[asyncio.AbstractEventLoop, _Scope] = {}

    def resource(self, factory: Callable[[], AsyncIterator[T]]) -> Resource[T]:
        """Declare a live resource by an async generator function that yields it once. Touches nothing.

        Use as a decorator. The result, called while the session is open, gives the live object.
        """
        resource = Resource(self, factory)
        self._resources.append(resource)
        return resource

    @property
    def is_open(self) -> bool:
        """Whether the session is open on the running event loop."""
        return asyncio.get_running_loop() in self._scopes

    async def open(self, only: Collection[object] | None = None) -> None:
        """Open the resources on the running event loop, all of them or those in ``only`` and those that they use.

        If one fails, or the opening is cancelled, those that were open already are closed again and the session
        stays closed.

        :raises ConfigurationError: if the session is open on this loop, or a resource does not yield exactly once.
        """
        loop = asyncio.get_running_loop()
        if loop in self._scopes:
            raise ConfigurationError("The session is already open on this event loop. Close it first.")
        # Registered first, because a resource may use those declared before it while it opens.
        scope = self._scopes[loop] = _Scope()
        try:
            for resource in self._resources:
                if only is None or resource in only:
                    await scope.enter(resource)
        except BaseException as error:
            failures = await scope.close()
            del self._scopes[loop]
            if not failures:
                raise
            failed = _all_of("Opening the session failed, and so did closing it", [error, *failures])
            # It holds the error already, or is the error.
            failed.__suppress_context__ = True
            raise failed  # noqa: B904  # as said

    async def ensure(self, resources: Collection[object]) -> None:
        """Open those of ``resources`` that are not open yet on the running event loop, and those that they use.

        If one fails, or the opening is cancelled, those that are open stay open until :meth:`close`.

        :raises ConfigurationError: if a resource does not yield exactly once.
        """
        loop = asyncio.get_running_loop()
        scope = self._scopes.get(loop)
        if scope is None:
            return await self.open(resources)
        for resource in self._resources:
            if resource in resources:
                await scope.enter(resource)
        return None

    async def close(self) -> None:
        """Close what is open on the running event loop, in reverse order. Does nothing if nothing is open.

        Every resource is closed even if another one fails or the closing is cancelled.

        :raises ExceptionGroup: of all that failed.
        """
        loop = asyncio.get_running_loop()
        scope = self._scopes.get(loop)
        if scope is None:
            return
        failures = await scope.close()
        self._scopes.pop(loop, None)
        if failures:
            raise _all_of("Closing the session failed", failures)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def declares_before(self, one: Resource[object], other: Resource[object]) -> bool:
        """Tell whether both are of this session, and ``one`` was declared first."""
        declared = self._resources
        return one in declared and other in declared and declared.index(one) < declared.index(other)

    def live(self, resource: Resource[T]) -> T:
        """Give the live object of a resource on the running event loop; see :class:`Resource`."""
        try:
            return cast(T, self._scopes[asyncio.get_running_loop()].live[resource])
        except (KeyError, RuntimeError):
            raise SessionClosedError(
                f"Resource {resource.name!r} was used while its session is closed on this event loop. "
                "Open the pipeline or the session first: 'async with pipeline:'.",
                resource,
            ) from None
