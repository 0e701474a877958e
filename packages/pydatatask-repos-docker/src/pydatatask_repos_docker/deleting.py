"""Deleting one tag of a registry that deletes manifests, each with all of its tags.

Some registries delete a tag when they are asked to. For the others, the tag is made to name a manifest that no other
tag names, a *tombstone*, and that is deleted. Each deletion has a tombstone of its own. In this order:

1. The registry is asked to delete the tombstone, which is not there: one that cannot delete says so, and nothing was
   changed.
2. A *mark* is set: a tag that is no job id and tells job and time, on a manifest of its own. Who lists the tags and
   finds a mark looks at its job before believing in it.
3. The tombstone is put under the job's tag. From here on the job is gone: whoever asks for it sees a tombstone.
4. The tombstone is deleted, and the tag with it.
5. The mark is deleted in the same way.

A process or a registry that is killed in between leaves the job whole (before 3) or gone (after), and a mark by which
the rest is done when the repository is validated a day later. A registry that fails at 4 may have deleted the tombstone
and not the tag, which then names nothing; so the tombstone is put there again before it is deleted again. An image that
somebody pushes under the tag stays if it comes after 3. The image that was deleted stays in the registry without this
tag; its garbage collection removes it if no other tag names it.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets

from attrs import frozen
from pydatatask_core.job import is_valid_job_id

from ._errors import Answer
from .images import MANIFEST, Images, Manifest, digest_of

__all__ = ["Mark", "bury", "delete_tag", "living_digest", "sign", "tombstone"]

_MARK = re.compile(r"_pydatatask-deleting\.([0-9a-f]{8})[0-9a-f]{8}\.(.+)")
_NOTE = "pydatatask.deleted"
"""The annotation of a tombstone that names its job."""
_LENGTH = 1021
"""Bytes of every tombstone, so that a manifest of another length need not be looked into."""
_CONFIG = b"{}"
_ATTEMPTS = 5
"""How often a manifest is deleted where a registry fails because others delete at the same time."""
_PAUSE = 0.05
"""Seconds between the first two of these; one more each time."""
_DELETED = frozenset({202, 204})
_GONE = _DELETED | {404}
"""Answers after which what was to be deleted is not there."""
_BY_DIGEST_ALONE = frozenset({400, 405, 415, 501})
"""Answers of registries that delete no tag; some that delete nothing at all are among them."""


@frozen
class Mark:
    """A tag that says that a job is being deleted, and since when."""

    tag: str
    job: str
    since: int
    """In seconds since 1970."""

    @classmethod
    def new(cls, job: str, now: float) -> Mark:
        """Make a mark that nobody else makes."""
        since = int(now) & 0xFFFFFFFF
        return cls(f"_pydatatask-deleting.{since:08x}{secrets.token_hex(4)}.{job}", job, since)

    @classmethod
    def read(cls, tag: str) -> Mark | None:
        """Give the mark that a tag is, None if it is none."""
        found = _MARK.fullmatch(tag)
        if found is None or not is_valid_job_id(found[2]):
            return None
        return cls(tag, found[2], int(found[1], 16))


def tombstone(mark: Mark) -> Manifest:
    """Give the manifest that stands for a deleted image."""
    return _manifest(mark, _NOTE)


def sign(mark: Mark) -> Manifest:
    """Give the manifest that a mark names."""
    return _manifest(mark, "pydatatask.deleting")


def _manifest(mark: Mark, note: str) -> Manifest:
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "size": len(_CONFIG),
        "digest": digest_of(_CONFIG),
    }
    notes = {note: mark.job, "pydatatask.mark": mark.tag, "pydatatask.padding": ""}
    content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], "annotations": notes}
    notes["pydatatask.padding"] = " " * (_LENGTH - len(json.dumps(content)))
    return Manifest(json.dumps(content).encode(), _CONFIG)


async def living_digest(images: Images, job: str) -> str | None:
    """Give the digest behind a job's tag, None if there is no such tag or a tombstone is behind it.

    It is one request, and another if what is there is as long as a tombstone.
    """
    doing = f"look for tag {job!r}"
    found = await images.look(doing, job)
    if found is None or await _tombstone_at(images, doing, job, found) is not None:
        return None
    return found.headers.get("docker-content-digest", "")


async def _tombstone_at(images: Images, doing: str, tag: str, found: Answer) -> Manifest | None:
    """Give the tombstone behind a tag, None if it is none."""
    if found.headers.get("content-length", str(_LENGTH)) != str(_LENGTH):
        return None
    content = await images.get(doing, tag)
    try:
        is_one = content is not None and _NOTE in json.loads(content)["annotations"]
    except (ValueError, KeyError, TypeError):
        return None
    return Manifest(content, _CONFIG) if is_one and content is not None else None


async def delete_tag(images: Images, job: str, now: float) -> None:
    """Delete one tag and no other. After a failure the job is there, whole, or gone. ``now`` is the time since 1970.

    :raises CannotDeleteError: if the registry was not told to allow deleting. Nothing was changed.
    """
    doing = f"delete tag {job!r}"
    found = await images.look(doing, job)
    if found is None:
        return None
    left = await _tombstone_at(images, doing, job, found)
    if left is not None:
        return await _take_away(images, doing, job, left)
    answer = await images.delete(doing, job)
    if answer.status in _GONE:
        return None
    if answer.status not in _BY_DIGEST_ALONE:
        raise images.refusal(doing, answer)
    mark = Mark.new(job, now)
    answer = await images.delete(doing, tombstone(mark).digest)
    if answer.status not in _GONE:
        raise images.refusal(doing, answer)
    await images.put(doing, mark.tag, sign(mark))
    await _take_away(images, doing, job, tombstone(mark))
    return await _take_away(images, doing, mark.tag, sign(mark))


async def bury(images: Images, mark: Mark) -> None:
    """End a deletion that was begun and not ended. Does nothing to a tag that only looks like a mark."""
    doing = f"end the deletion of tag {mark.job!r}"
    content = await images.get(doing, mark.tag)
    if content is not None and content != sign(mark).content:
        return
    found = await images.look(doing, mark.job)
    if found is None or await _tombstone_at(images, doing, mark.job, found) is not None:
        # The tag may be there though it names nothing.
        await _take_away(images, doing, mark.job, tombstone(mark))
    await _take_away(images, doing, mark.tag, sign(mark))


async def _take_away(images: Images, doing: str, tag: str, manifest: Manifest) -> None:
    """Have a tag name a manifest that no other tag names, and delete that."""
    for attempt in range(1, _ATTEMPTS + 1):
        await images.put(doing, tag, manifest)
        answer = await images.delete(doing, manifest.digest)
        if answer.status in _DELETED:
            return
        # Not found is no success here: the manifest went with a request that failed, and the tag may have stayed.
        if (answer.status < 500 and answer.status != 404) or attempt == _ATTEMPTS:
            raise images.refusal(doing, answer)
        await asyncio.sleep(attempt * _PAUSE)
