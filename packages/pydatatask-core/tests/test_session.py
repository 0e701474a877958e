"""Sessions: opened all or not at all, in order; closed in reverse whatever fails; one scope per event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import pytest
from pydatatask_core.errors import ConfigurationError, SessionClosedError
from pydatatask_core.session import Resource, Session

DEADLINE = 20.0


class Stage:
    """A session of three resources that write down what happens to them."""

    def __init__(self) -> None:
        self.session = Session()
        self.told: list[str] = []
        self.opening: dict[str, Callable[[], object]] = {}
        self.closing: dict[str, Callable[[], object]] = {}
        self.first, self.second, self.third = (self.declare(name) for name in ("first", "second", "third"))

    def declare(self, name: str) -> Resource[str]:
        async def resource() -> AsyncGenerator[str, None]:
            self.told.append(f"open {name}")
            await asyncio.sleep(0)
            if name in self.opening:
                self.opening[name]()
            yield f"live {name}"
            self.told.append(f"close {name}")
            await asyncio.sleep(0)
            if name in self.closing:
                self.closing[name]()

        resource.__qualname__ = name
        return self.session.resource(resource)


ALL_OPENED = ["open first", "open second", "open third"]
ALL_CLOSED = ["close third", "close second", "close first"]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def fail(error: BaseException) -> Callable[[], object]:
    def failing() -> object:
        raise error

    return failing


def test_declaring_is_synchronous_and_touches_nothing(stage: Stage) -> None:
    assert stage.told == []
    assert stage.first.name == "first"
    assert "first" in repr(stage.first)


async def test_opening_goes_in_order_and_closing_in_reverse(stage: Stage) -> None:
    async with stage.session as same:
        assert same is stage.session
        assert stage.session.is_open
        assert stage.told == ALL_OPENED
        assert (stage.first(), stage.second(), stage.third()) == ("live first", "live second", "live third")
    assert stage.told == ALL_OPENED + ALL_CLOSED
    assert not stage.session.is_open


async def test_a_session_can_be_opened_again_after_it_was_closed(stage: Stage) -> None:
    for _ in range(3):
        stage.told.clear()
        await stage.session.open()
        assert stage.first() == "live first"
        await stage.session.close()
        assert stage.told == ALL_OPENED + ALL_CLOSED
        with pytest.raises(SessionClosedError):
            stage.first()


async def test_opening_twice_is_refused_and_harms_nothing(stage: Stage) -> None:
    async with stage.session:
        with pytest.raises(ConfigurationError, match="already open"):
            await stage.session.open()
        assert stage.third() == "live third"
    assert stage.told == ALL_OPENED + ALL_CLOSED


async def test_closing_what_is_closed_does_nothing(stage: Stage) -> None:
    await stage.session.close()
    await stage.session.open()
    await stage.session.close()
    await stage.session.close()
    assert stage.told == ALL_OPENED + ALL_CLOSED


async def test_use_while_closed_names_the_resource_and_the_fix(stage: Stage) -> None:
    with pytest.raises(SessionClosedError, match=r"Resource 'second' .* closed .*Open the pipeline or the session"):
        stage.second()
    assert issubclass(SessionClosedError, RuntimeError)


def test_use_without_any_event_loop_is_use_while_closed(stage: Stage) -> None:
    with pytest.raises(SessionClosedError, match="'second'"):
        stage.second()


async def test_a_resource_may_use_those_before_it_and_not_those_after(stage: Stage) -> None:
    seen: list[str] = []
    stage.opening["second"] = lambda: seen.append(stage.first())
    async with stage.session:
        pass
    assert seen == ["live first"]
    stage.opening["second"] = stage.third
    with pytest.raises(SessionClosedError, match="'third'"):
        await stage.session.open()


async def test_a_resource_may_use_those_before_it_while_it_closes_and_not_those_after(stage: Stage) -> None:
    seen: list[str] = []
    stage.closing["second"] = lambda: seen.append(stage.first())
    async with stage.session:
        pass
    assert seen == ["live first"]
    stage.closing["second"] = stage.third
    await stage.session.open()
    with pytest.RaisesGroup(pytest.RaisesExc(SessionClosedError, match="'third'")):
        await stage.session.close()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("first", ["open first"]),
        ("second", ["open first", "open second", "close first"]),
        ("third", [*ALL_OPENED, "close second", "close first"]),
    ],
)
async def test_opening_is_all_or_nothing(stage: Stage, name: str, told: list[str]) -> None:
    stage.opening[name] = fail(ZeroDivisionError("no luck"))
    with pytest.raises(ZeroDivisionError, match="no luck"):
        await stage.session.open()
    assert stage.told == told
    assert not stage.session.is_open
    with pytest.raises(SessionClosedError):
        stage.first()
    stage.opening.clear()
    async with stage.session:
        assert stage.third() == "live third"


async def test_a_failed_opening_whose_closing_fails_too_raises_both(stage: Stage) -> None:
    stage.opening["third"] = fail(ZeroDivisionError())
    stage.closing["second"] = fail(LookupError())
    with pytest.RaisesGroup(ZeroDivisionError, LookupError):
        await stage.session.open()
    assert stage.told == [*ALL_OPENED, "close second", "close first"]
    assert not stage.session.is_open


async def start_and_hang(stage: Stage, name: str) -> asyncio.Task[None]:
    """Start opening a session whose last resource, declared here, never comes up."""
    hanging = asyncio.Event()

    @stage.session.resource
    async def fourth() -> AsyncGenerator[str, None]:
        hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            stage.told.append(f"clean up {name}")
        yield "never"

    task = asyncio.create_task(stage.session.open())
    async with asyncio.timeout(DEADLINE):
        await hanging.wait()
    return task


async def test_a_cancelled_opening_closes_what_was_open(stage: Stage) -> None:
    task = await start_and_hang(stage, "fourth")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert stage.told == [*ALL_OPENED, "clean up fourth", *ALL_CLOSED]
    assert not stage.session.is_open


async def test_a_cancelled_opening_whose_closing_fails_still_counts_as_cancelled(stage: Stage) -> None:
    stage.closing["second"] = fail(LookupError("lost"))
    task = await start_and_hang(stage, "fourth")
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert task.cancelled()
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert stage.told == [*ALL_OPENED, "clean up fourth", *ALL_CLOSED]


async def test_closing_closes_everything_and_raises_all_that_failed(stage: Stage) -> None:
    stage.closing["first"] = fail(ZeroDivisionError())
    stage.closing["third"] = fail(LookupError())
    await stage.session.open()
    with pytest.raises(ExceptionGroup) as caught:
        await stage.session.close()
    assert [type(error) for error in caught.value.exceptions] == [LookupError, ZeroDivisionError]
    assert caught.value.exceptions[0].__notes__ == ["while closing session resource 'third'"]
    assert stage.told == ALL_OPENED + ALL_CLOSED
    assert not stage.session.is_open
    stage.closing.clear()
    async with stage.session:
        assert stage.first() == "live first"


async def test_a_cancelled_closing_closes_everything_and_stays_a_cancellation(stage: Stage) -> None:
    reached = asyncio.Event()

    @stage.session.resource
    async def slow() -> AsyncGenerator[str, None]:
        yield "slow"
        reached.set()
        await asyncio.Event().wait()

    stage.closing["second"] = fail(LookupError())
    await stage.session.open()
    task = asyncio.create_task(stage.session.close())
    async with asyncio.timeout(DEADLINE):
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert task.cancelled()
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert stage.told == ALL_OPENED + ALL_CLOSED
    assert not stage.session.is_open


async def test_the_session_is_closed_when_its_block_fails(stage: Stage) -> None:
    with pytest.raises(ZeroDivisionError):
        async with stage.session:
            raise ZeroDivisionError
    assert stage.told == ALL_OPENED + ALL_CLOSED


async def test_a_failed_block_is_seen_when_closing_fails_too(stage: Stage) -> None:
    stage.closing["first"] = fail(LookupError())
    with pytest.raises(ExceptionGroup) as caught:
        async with stage.session:
            raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert not caught.value.__suppress_context__


async def test_a_generator_that_never_yields_is_an_error_that_says_so(stage: Stage) -> None:
    @stage.session.resource
    async def silent() -> AsyncGenerator[str, None]:
        if not stage.told:
            yield "never"

    with pytest.raises(ConfigurationError, match=r"'.*silent' ended without a yield.*exactly one"):
        await stage.session.open()
    assert stage.told == ALL_OPENED + ALL_CLOSED


async def test_a_generator_that_yields_twice_is_an_error_that_says_so_and_is_ended(stage: Stage) -> None:
    ended: list[bool] = []

    @stage.session.resource
    async def twice() -> AsyncGenerator[str, None]:
        try:
            yield "once"
            yield "twice"
        finally:
            ended.append(True)

    await stage.session.open()
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigurationError, match=r"'.*twice' yielded twice.*exactly one")):
        await stage.session.close()
    assert ended == [True]
    assert stage.told == ALL_OPENED + ALL_CLOSED


async def test_what_is_no_async_generator_function_is_an_error_that_says_so(stage: Stage) -> None:
    async def coroutine() -> str:
        return "no generator"

    def plain() -> str:
        return "no generator"

    for factory in (coroutine, plain):
        session = Session()
        session.resource(cast(Any, factory))
        with pytest.raises(ConfigurationError, match="no async generator function"):
            await session.open()


async def test_only_some_resources_are_opened(stage: Stage) -> None:
    await stage.session.open(only={stage.first, stage.third})
    assert stage.told == ["open first", "open third"]
    assert stage.third() == "live third"
    with pytest.raises(SessionClosedError, match="'second'"):
        stage.second()
    await stage.session.close()
    assert stage.told == ["open first", "open third", "close third", "close first"]


async def test_ensure_opens_what_is_lacking_and_nothing_twice(stage: Stage) -> None:
    await stage.session.ensure({stage.second})
    await stage.session.ensure({stage.second, stage.first})
    await stage.session.ensure(())
    assert stage.told == ["open second", "open first"]
    assert stage.first() == "live first"
    await stage.session.close()
    assert stage.told == ["open second", "open first", "close first", "close second"]


async def test_ensure_that_fails_keeps_what_is_open(stage: Stage) -> None:
    await stage.session.ensure({stage.first})
    stage.opening["second"] = fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await stage.session.ensure({stage.second})
    assert stage.first() == "live first"
    stage.opening.clear()
    await stage.session.ensure({stage.second})
    assert stage.second() == "live second"
    await stage.session.close()
    assert stage.told[-2:] == ["close second", "close first"]


async def test_each_event_loop_has_its_own_live_objects() -> None:
    session = Session()
    closed: list[object] = []

    @session.resource
    async def loop_of() -> AsyncGenerator[asyncio.AbstractEventLoop, None]:
        loop = asyncio.get_running_loop()
        yield loop
        closed.append(loop)

    async def elsewhere() -> asyncio.AbstractEventLoop:
        with pytest.raises(SessionClosedError, match="loop_of"):
            loop_of()
        assert not session.is_open
        async with session:
            assert loop_of() is asyncio.get_running_loop()
            assert threading.current_thread() is not threading.main_thread()
        return asyncio.get_running_loop()

    async with session:
        other = await asyncio.to_thread(asyncio.run, elsewhere())
        assert closed == [other]
        assert other is not asyncio.get_running_loop()
        assert loop_of() is asyncio.get_running_loop()
    assert closed == [other, asyncio.get_running_loop()]


def test_two_sessions_do_not_know_each_other() -> None:
    async def main() -> None:
        one, other = Stage(), Stage()
        async with one.session:
            with pytest.raises(SessionClosedError):
                other.first()
            async with other.session:
                assert other.first() == one.first() == "live first"

    asyncio.run(main())


async def test_a_resource_looks_like_its_function() -> None:
    session = Session()

    @session.resource
    async def documented() -> AsyncGenerator[int, None]:
        """What it is."""
        yield 1

    assert documented.__doc__ == "What it is."
    assert documented.name.endswith("documented")


async def test_what_a_resource_uses_is_opened_with_it_where_only_some_are() -> None:
    session = Session()
    opened: list[str] = []

    @session.resource
    async def settings() -> AsyncGenerator[str, None]:
        opened.append("settings")
        yield "here"

    @session.resource
    async def unused() -> AsyncGenerator[str, None]:
        opened.append("unused")
        yield ""

    @session.resource
    async def client() -> AsyncGenerator[str, None]:
        where = settings()
        opened.append("client")
        yield f"client of {where}"

    for opening in (session.open, session.ensure):
        opened.clear()
        await opening({client})
        assert opened == ["settings", "client"]
        assert client() == "client of here"
        await session.close()
