"""What every repository promises, whatever stands behind its keys: names, listing, membership, deleting, changes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

import pytest

from ..errors import JobIdError, MissingJobError
from .changes import ChangeTests
from .suite import INVALID_JOBS, R, listed, paged, versions_of

__all__ = ["RepositoryTests"]

LEGAL_JOBS = ("a", "0", "A", "a.b", "a-b", "a_b", "a..b", "job.yaml", "x.tar.gz", "UPPER.lower-0_9", "z" * 63)


class RepositoryTests(ChangeTests[R]):
    """The promises that every repository keeps, a user's own three-method one included."""

    writable = False
    values: ClassVar[tuple[Any, Any]] = (b"first", b"second")

    async def test_a_fresh_repository_is_empty(self, repo: R) -> None:
        await repo.validate()
        assert await listed(repo) == []
        assert [job for page in await paged(repo) for job in page] == []
        assert await versions_of(repo) == {}
        assert await repo.info_all() == {}

    async def test_validate_may_be_called_again_and_keeps_values(self, repo: R) -> None:
        await repo.validate()
        await self.poke(repo, "job", self.values[0])
        await repo.validate()
        assert await self.peek(repo, "job") == self.values[0]

    @pytest.mark.parametrize("job", LEGAL_JOBS)
    async def test_every_legal_job_id_is_a_key_as_it_stands(self, repo: R, job: str) -> None:
        assert type(repo).is_valid_job_id(job)
        await self.poke(repo, job, self.values[0])
        assert await listed(repo) == [job]
        assert await repo.contains(job)
        await repo.delete(job)
        assert await listed(repo) == []
        if self.writable:
            await self.put(repo, job, self.values[1])
            assert await self.peek(repo, job) == self.values[1]
            assert await listed(repo) == [job]

    @pytest.mark.parametrize("job", INVALID_JOBS)
    async def test_an_invalid_job_id_is_refused_by_every_verb(self, repo: R, job: str) -> None:
        assert not type(repo).is_valid_job_id(job)
        with pytest.raises(JobIdError) as caught:
            await repo.contains(job)
        assert isinstance(caught.value, KeyError)
        assert repr(job) in str(caught.value)
        self.need(checks_jobs=self.checks_jobs)
        with pytest.raises(JobIdError):
            await repo.info(job)
        with pytest.raises(JobIdError):
            await repo.delete(job)

    async def test_foreign_keys_are_skipped_with_one_counted_warning(
        self, repo: R, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.need(foreign_keys=bool(self.foreign_keys))
        await self.poke(repo, "job", self.values[0])
        for key in self.foreign_keys:
            await self.poke_raw(repo, key, b"not ours")
        with caplog.at_level(logging.WARNING, "pydatatask.repository"):
            assert await listed(repo) == ["job"]
            assert await paged(repo) == [["job"]]
            assert set(await versions_of(repo)) == {"job"}
            assert set(await repo.info_all()) == {"job"}
        warnings = [record.getMessage() for record in caplog.records if record.name == "pydatatask.repository"]
        assert len(warnings) == 1, warnings
        assert str(len(self.foreign_keys)) in warnings[0]

    async def test_iteration_gives_each_job_once(self, repo: R) -> None:
        jobs = await self.fill(repo, (f"job{n}" for n in range(self.many)))
        found = await listed(repo)
        assert len(found) == len(jobs)
        assert set(found) == jobs

    async def test_pages_and_versions_agree_with_iteration(self, repo: R) -> None:
        jobs = await self.fill(repo, (f"job{n}" for n in range(self.many)))
        pages = await paged(repo)
        assert sorted(job for page in pages for job in page) == sorted(jobs)
        assert max(map(len, pages)) < len(jobs), "everything was listed in one page"
        versions = await versions_of(repo)
        assert versions.keys() == jobs
        assert await versions_of(repo) == versions, "a version changed although its value did not"

    async def test_a_version_changes_with_its_value(self, repo: R) -> None:
        self.need(versioned=self.versioned)
        await self.poke(repo, "job", self.values[0])
        await self.poke(repo, "other", self.values[0])
        before = await versions_of(repo)
        await self.poke(repo, "job", self.values[1])
        after = await versions_of(repo)
        assert after["job"] != before["job"]
        assert after["other"] == before["other"]
        if self.writable:
            await self.put(repo, "job", self.values[0])
            assert (await versions_of(repo))["job"] != after["job"]

    async def test_listing_while_keys_come_and_go_gives_all_others(self, repo: R) -> None:
        kept = await self.fill(repo, (f"kept{n}" for n in range(self.many)))
        gone = await self.fill(repo, (f"gone{n}" for n in range(20)))
        new: set[str] = set()
        found: list[str] = []
        async for job in repo:
            if not found:
                for n, victim in enumerate(gone):
                    await repo.delete(victim)
                    await self.poke(repo, f"kept{n}", self.values[1])
                new = await self.fill(repo, (f"new{n}" for n in range(25)))
            found.append(job)
        assert len(found) == len(set(found)), "a job was given twice"
        assert kept <= set(found)
        assert set(found) <= kept | gone | new

    async def test_two_listings_at_once_do_not_disturb_each_other(self, repo: R) -> None:
        jobs = await self.fill(repo, (f"job{n}" for n in range(30)))
        first, second = await asyncio.gather(listed(repo), listed(repo))
        assert set(first) == set(second) == jobs

    async def test_a_listing_may_be_left_early(self, repo: R) -> None:
        jobs = await self.fill(repo, (f"job{n}" for n in range(30)))
        async for job in repo:
            assert job in jobs
            break
        assert set(await listed(repo)) == jobs

    async def test_contains_tells_what_is_there(self, repo: R) -> None:
        await self.poke(repo, "job", self.values[0])
        assert await repo.contains("job") is True
        assert await repo.contains("jo") is False
        assert await repo.contains("job2") is False
        assert await repo.contains("JOB") is False
        await repo.delete("job")
        assert await repo.contains("job") is False

    async def test_contains_lists_nothing(self, repo: R, monkeypatch: pytest.MonkeyPatch) -> None:
        self.need(cheap_contains=self.cheap_contains)
        await self.poke(repo, "job", self.values[0])

        def refuse() -> None:
            raise AssertionError("contains listed the repository")

        for verb in ("unfiltered_iter", "pages", "versions"):
            monkeypatch.setattr(repo, verb, refuse)
        assert await repo.contains("job")
        assert not await repo.contains("other")

    async def test_delete_removes_the_job_and_nothing_else(self, repo: R) -> None:
        for job in ("job", "job2", "jo"):
            await self.poke(repo, job, self.values[0])
        await repo.delete("job")
        assert await self.peek(repo, "job") is None
        assert sorted(await listed(repo)) == ["jo", "job2"]
        assert await self.peek(repo, "job2") == self.values[0]

    async def test_deleting_an_absent_job_is_fine(self, repo: R) -> None:
        await repo.delete("job")
        await self.poke(repo, "job", self.values[0])
        await repo.delete("job")
        await repo.delete("job")
        assert await listed(repo) == []

    async def test_info_of_an_absent_job_is_as_documented(self, repo: R) -> None:
        if self.absent_info == "missing":
            with pytest.raises(MissingJobError) as caught:
                await repo.info("job")
            assert isinstance(caught.value, LookupError)
            assert "job" in str(caught.value)
            return
        absent = await repo.info("job")
        if self.absent_info == "none":
            assert absent is None
        elif self.absent_info == "empty":
            assert absent == {}
        else:
            await self.poke(repo, "job", self.values[0])
            assert str(await repo.info("job")) == str(absent)
            assert "job" in str(absent)

    async def test_asking_makes_nothing(self, repo: R) -> None:
        await repo.contains("job")
        await repo.delete("job")
        if self.absent_info != "missing":
            await repo.info("job")
        assert await listed(repo) == []

    async def test_info_all_is_the_info_of_every_job(self, repo: R) -> None:
        jobs = await self.fill(repo, (f"job{n}" for n in range(30)))
        everything = await repo.info_all()
        assert everything.keys() == jobs
        for job in ("job0", "job29"):
            assert str(everything[job]) == str(await repo.info(job))

    async def test_a_twin_sees_what_the_other_did(self, repo: R) -> None:
        self.need(twins=self.twins)
        twin = await self.twin(repo)
        await self.poke(repo, "kept", self.values[0])
        if self.writable:
            await self.put(repo, "written", self.values[1])
            assert await twin.contains("written")
            await twin.delete("written")
        assert await listed(repo) == await listed(twin) == ["kept"]

    async def test_the_location_is_constant(self, repo: R) -> None:
        before = repo.location
        await self.poke(repo, "job", self.values[0])
        await repo.validate()
        assert repo.location == before
