"""Jobs as the tags of a repository in a Docker registry."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypedDict

from pydatatask_core.cancelling import to_the_end
from pydatatask_core.errors import ConfigurationError
from pydatatask_core.job import check_job
from pydatatask_core.repository.protocols import PAGE, Repository, ValidKeys
from pydatatask_core.repository.together import together
from typing_extensions import override

from .client import RegistryClient
from .deleting import Mark, bury, delete_tag, living_digest
from .images import Images
from .legacy import HasCredentials, opened

__all__ = ["DockerRepository", "ImageNames"]

_log = logging.getLogger("pydatatask.repository")

AT_ONCE = 16
"""Tags whose digests are asked for at the same time."""

FORGOTTEN = 24 * 60 * 60
"""Seconds after which a deletion that was not ended is taken for left behind."""

_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(f"{_PART}(?:/{_PART})*")


class ImageNames(TypedDict):
    """The names of a job's image."""

    withdomain: str
    """``domain/repository:job``, as everybody pulls it."""
    withoutdomain: str
    """``repository:job``, for those who know the registry."""


class DockerRepository(Repository):
    """A repository of a Docker registry; each tag that is a job id is a job. Images are pushed by others.

    ``registry`` is a callable that gives an open :class:`RegistryClient`, as :meth:`Session.resource` makes it. Of
    the client objects of earlier releases the ``credentials`` are used. ``domain`` is the registry's, with its port
    if that is not the usual one; ``repository`` is the path in it.

    :raises ConfigurationError: if ``domain`` or ``repository`` cannot be one.
    """

    def __init__(self, registry: Callable[[], RegistryClient | HasCredentials], domain: str, repository: str) -> None:
        if _DOMAIN.fullmatch(domain) is None:
            raise ConfigurationError(
                f"{domain!r} is no domain of a Docker registry. Give it without scheme and path, with a port if need "
                "be: 'docker.io', 'localhost:5000'."
            )
        if _REPOSITORY.fullmatch(repository) is None:
            raise ConfigurationError(
                f"{repository!r} is no repository of a Docker registry. Give lower-case letters, digits and single "
                "'.', '_', '-' in parts divided by '/', and no tag: 'team/app'."
            )
        self._registry = registry
        self.domain = domain
        self.repository = repository

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.domain}/{self.repository}>"

    @property
    @override
    def location(self) -> str:
        return f"docker:{self.domain}/{self.repository}"

    @property
    @override
    def resources(self) -> frozenset[object]:
        return frozenset({self._registry})

    @asynccontextmanager
    async def _images(self) -> AsyncIterator[Images]:
        async with opened(self._registry()) as client:
            yield Images(client, self.domain, self.repository)

    @override
    async def info(self, job: str, /) -> ImageNames:
        """Give the names of the job's image, whether it exists or not. No request is made."""
        name = f"{self.repository}:{check_job(job)}"
        return {"withdomain": f"{self.domain}/{name}", "withoutdomain": name}

    @override
    async def contains(self, job: str, /) -> bool:
        """Tell whether the tag is there, by one request for the headers of its manifest."""
        check_job(job)
        async with self._images() as images:
            return await living_digest(images, job) is not None

    @override
    async def delete(self, job: str, /) -> None:
        """Delete the tag and no other, whichever tags name the same image; :mod:`.deleting` tells how.

        The image stays in the registry until its garbage collection finds it without a tag. After a failure the job
        is there, whole, or gone; the rest is done when the repository is validated. A registry that does not delete
        is told by :class:`CannotDeleteError`, and nothing was changed.
        """
        check_job(job)
        await to_the_end(self._delete(job))

    async def _delete(self, job: str) -> None:
        async with self._images() as images:
            await delete_tag(images, job, time.time())
        self.changes.removed(job)

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        """Give every tag, but those that are being deleted and the marks of that."""
        async with self._images() as images:
            async for page in images.tags():
                for tag in await _living(images, page):
                    yield tag

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        keys = ValidKeys(self)
        async with self._images() as images:
            async for page in images.tags():
                living = await _living(images, page)
                for start in range(0, len(living), PAGE):
                    yield keys.valid(living[start : start + PAGE])
        keys.report()

    @override
    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Give pages of jobs with the digests of their images: one request per job, :data:`AT_ONCE` at a time."""
        async with self._images() as images:

            async def ask(job: str) -> tuple[str, str | None]:
                return job, await living_digest(images, job)

            async for page in self.pages():
                found = await together(ask, page, AT_ONCE)
                yield [(job, digest) for job, digest in found if digest is not None]

    @override
    async def validate(self) -> None:
        """See that the registry can be used, and end what a killed process began to delete a day ago. Makes nothing.

        :raises StoreUnavailableError: if the registry does not answer; of its subclasses, if it refuses.
        """
        async with self._images() as images:
            async for page in images.tags():
                for tag in page:
                    mark = Mark.read(tag)
                    if mark is not None and mark.since < time.time() - FORGOTTEN:
                        _log.info("%r: ending the deletion of %r that somebody began.", self, mark.job)
                        await to_the_end(bury(images, mark))


async def _living(images: Images, tags: list[str]) -> list[str]:
    """Give those of the tags that are not being deleted, without the marks."""
    marks = [mark for tag in tags if (mark := Mark.read(tag)) is not None]
    if not marks:
        return tags
    gone = {mark.tag for mark in marks}
    for job in {mark.job for mark in marks}.intersection(tags):
        if await living_digest(images, job) is None:
            gone.add(job)
    return [tag for tag in tags if tag not in gone]
