"""A repository seen through a change of keys: the jobs of one, with what another holds for the jobs they stand for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, overload

from attrs import field, frozen
from typing_extensions import override

from ..errors import MissingJobError
from ..job import check_job, is_valid_job_id
from .changes import KeyEvent, Resync
from .combining import AT_ONCE, BlobsBehind, Combinator, MetadataBehind, keys_of
from .encoded import EncodedRepository
from .expression import KeyExpression, Related, Translation
from .protocols import PAGE, BlobRepository, MetadataRepository, Repository
from .together import together

__all__ = [
    "RelatedBlobRepository",
    "RelatedItemRepository",
    "RelatedMetadataBlobRepository",
    "RelatedMetadataRepository",
]


@frozen
class Translate:
    """Asks a translator for the job that a job stands for. Two that ask one repository are equal."""

    translator: Repository = field(eq=False)
    location: str = field(init=False)

    @location.default
    def _location(self) -> str:
        return self.translator.location

    async def __call__(self, job: str) -> str | None:
        """Give the job that ``job`` stands for, or None if there is none."""
        try:
            return _job_in(await self.translator.info(job))
        except MissingJobError:
            return None


def _job_in(info: object) -> str | None:
    # An empty mapping is what some stores hold for an absent job; like whatever else is no job id, it names none.
    if info is None:
        return None
    job = str(info)
    return job if is_valid_job_id(job) else None


class _Related(Combinator):
    kind = "related"

    def __init__(
        self,
        base_repository: Repository,
        translator_repository: Repository,
        allow_deletes: bool = False,
        prefetch_lookup: bool = True,
    ) -> None:
        self.base_repository = base_repository
        self.translator_repository = translator_repository
        self.allow_deletes = allow_deletes
        self.prefetch_lookup = prefetch_lookup
        self._translate = Translate(translator_repository)

    @property
    @override
    def children(self) -> Mapping[str, Repository]:
        return {"base": self.base_repository, "translator": self.translator_repository}

    @property
    @override
    def expression(self) -> KeyExpression:
        translation = Translation(self.translator_repository.expression, self._translate)
        return Related(self.base_repository.expression, translation)

    @override
    async def contains(self, job: str, /) -> bool:
        # A translator may give an info for what it does not hold: a path, an address.
        if not await self.translator_repository.contains(check_job(job)):
            return False
        target = await self._translate(job)
        return target is not None and await self.base_repository.contains(target)

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        async for page in self._translated_pages():
            yield [job for job, _ in page]

    @override
    async def info(self, job: str, /) -> Any:
        """Give the base's info of the job's translation.

        :raises MissingJobError: if the job has no translation.
        """
        repo, target = await self._behind(job)
        return await repo.info(target)

    @override
    async def info_all(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}

        async def read(pair: tuple[str, str]) -> None:
            job, target = pair
            try:
                infos[job] = await self.base_repository.info(target)
            except MissingJobError:
                return  # deleted since it was listed

        async for page in self._translated_pages():
            await together(read, page, AT_ONCE)
        return infos

    @override
    async def delete(self, job: str, /) -> None:
        """Delete the job's translation from the base if deletes are allowed, otherwise do nothing."""
        check_job(job)
        if self.allow_deletes and (target := await self._translate(job)) is not None:
            await self.base_repository.delete(target)

    async def _behind(self, job: str) -> tuple[Repository, str]:
        target = await self._translate(check_job(job))
        if target is None:
            raise MissingJobError(
                f"Job {job!r} is not in {self!r}: {self.translator_repository!r} names no job for it there."
            )
        return self.base_repository, target

    async def _translated_pages(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Give the jobs by page, each with its translation."""
        held = await keys_of(self.base_repository)
        async for page in self._translations():
            yield [(job, target) for job, target in page if target in held]

    async def _translations(self) -> AsyncIterator[list[tuple[str, str | None]]]:
        if self.prefetch_lookup:
            infos = list((await self.translator_repository.info_all()).items())
            for start in range(0, len(infos), PAGE):
                yield [(job, _job_in(info)) for job, info in infos[start : start + PAGE]]
            return
        async for page in self.translator_repository.pages():
            targets = await together(self._translate, page, AT_ONCE)
            yield list(zip(page, targets, strict=True))

    @override
    async def _seen_from_here(self, child: str, event: KeyEvent) -> KeyEvent:
        # Which jobs stand for a job of the base only a listing tells.
        return Resync() if child == "base" else await super()._seen_from_here(child, event)


class RelatedItemRepository(_Related):
    """The jobs of ``translator_repository`` whose info there names a job of ``base_repository``, with that one's value.

    The translator's info may be a string or anything whose ``str()`` is the job. None, a missing info and what is no
    job id mean that the job has no translation: it is absent, and every verb that needs one raises
    :class:`MissingJobError`. Deleting deletes from the base if ``allow_deletes``, and does nothing otherwise.

    A listing lists the base into memory. With ``prefetch_lookup`` it also reads all infos of the translator at once,
    otherwise one by one.

    What is made has the capability of the base: over a metadata repository it is a
    :class:`RelatedMetadataRepository`, over a blob repository a :class:`RelatedBlobRepository`, over one that is both
    a :class:`RelatedMetadataBlobRepository`.
    """

    @overload
    def __new__(
        cls,
        base_repository: EncodedRepository,
        translator_repository: Repository,
        allow_deletes: bool = False,
        prefetch_lookup: bool = True,
    ) -> RelatedMetadataBlobRepository: ...
    @overload
    def __new__(
        cls,
        base_repository: MetadataRepository,
        translator_repository: Repository,
        allow_deletes: bool = False,
        prefetch_lookup: bool = True,
    ) -> RelatedMetadataRepository: ...
    @overload
    def __new__(
        cls,
        base_repository: BlobRepository,
        translator_repository: Repository,
        allow_deletes: bool = False,
        prefetch_lookup: bool = True,
    ) -> RelatedBlobRepository: ...
    @overload
    def __new__(
        cls,
        base_repository: Repository,
        translator_repository: Repository,
        allow_deletes: bool = False,
        prefetch_lookup: bool = True,
    ) -> RelatedItemRepository: ...

    def __new__(cls, base_repository: Repository, *_: object, **__: object) -> RelatedItemRepository:
        """Make the class that has the capability of the base."""
        if cls is not RelatedItemRepository:
            return super().__new__(cls)
        capability = isinstance(base_repository, MetadataRepository), isinstance(base_repository, BlobRepository)
        return super().__new__(_WITH_CAPABILITY[capability])


class RelatedMetadataRepository(RelatedItemRepository, MetadataBehind):
    """Structured data of the base, by the translator's jobs."""


class RelatedBlobRepository(RelatedItemRepository, BlobsBehind):
    """Byte streams of the base, by the translator's jobs."""


class RelatedMetadataBlobRepository(RelatedMetadataRepository, RelatedBlobRepository):
    """Encoded data of the base, by the translator's jobs."""


_WITH_CAPABILITY: dict[tuple[bool, bool], type[RelatedItemRepository]] = {
    (False, False): RelatedItemRepository,
    (True, False): RelatedMetadataRepository,
    (False, True): RelatedBlobRepository,
    (True, True): RelatedMetadataBlobRepository,
}
