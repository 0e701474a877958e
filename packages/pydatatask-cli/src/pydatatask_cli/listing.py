"""The jobs of a set expression: what ``ls`` prints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.repository.combining import keys_of

from .errors import UnknownNameError
from .expression import Expression, ExpressionError, holds, names_in, parse, sources
from .names import NamedLink, find_link

__all__ = ["jobs_of", "parse_for"]


def parse_for(pipeline: Pipeline, text: str) -> tuple[Expression, dict[str, NamedLink]]:
    """Read a set expression, and find the repositories that it names.

    :raises ExpressionError: if it is none, or names what does not exist. Points at the column.
    """
    expression = parse(text)
    links: dict[str, NamedLink] = {}
    for named in names_in(expression):
        try:
            links[named.name] = find_link(pipeline, named.name)
        except UnknownNameError as error:
            raise ExpressionError(text, named.column, str(error)) from error
    return expression, links


async def jobs_of(expression: Expression, links: dict[str, NamedLink]) -> AsyncIterator[list[str]]:
    """Give the jobs of the set by page, each job once, in no promised order.

    A single repository that includes them all is streamed; others are held in memory.

    :raises StoreUnavailableError: if one of the repositories cannot be asked.
    """
    repos = {link.repo.location: link.repo for link in links.values()}
    places = {name: link.repo.location for name, link in links.items()}
    starts = list(dict.fromkeys(places[name] for name in sources(expression)))
    streamed = repos.pop(starts[0]) if len(starts) == 1 else None
    held = dict(zip(repos, await asyncio.gather(*map(keys_of, repos.values())), strict=True))
    if streamed is not None:
        async for page in streamed.pages():
            held[starts[0]] = set(page)
            named = {name: held[place] for name, place in places.items()}
            yield [job for job in page if holds(expression, job, named)]
        return
    named = {name: held[place] for name, place in places.items()}
    for number, place in enumerate(starts):
        earlier = [held[other] for other in starts[:number]]
        fresh = (job for job in held[place] if not any(job in jobs for jobs in earlier))
        yield [job for job in fresh if holds(expression, job, named)]
