"""Deleting one tag of a registry that deletes manifests, each with all of its tags.

Some registries delete a tag when they are asked to. For the others, the tag is made to name a manifest that no other
tag names, a *tombstone*, and that is deleted. Each deletion has a tombstone of its own. In this order:

1. The registry is asked to delete the tombstone, which is not there: one that cannot delete says so, and nothing was
   changed.
2. The tombstone is put under a tag that is no job id and tells job and time: the *mark*. Who lists the tags and finds
   a mark looks at its job before believing in it.
3. The tombstone is put under the job's tag. From here on the job is gone: whoever asks for it sees a tombstone.
4. The tombstone is deleted, and both tags with it.

A process that is killed in between leaves the job whole (before 3) or gone (after), and a mark by which the rest is
done when the repository is validated a day later. An image that somebody pushes under the tag meanwhile stays: deleting
takes only those tags that name the tombstone. The image that was deleted stays in the registry without this tag; its
garbage collection removes it if no other tag names it.
"""

from __future__ import annotations

import json
import re
import secrets

from attrs import frozen
from pydatatask_core.job import is_valid_job_id

from ._errors import Answer
from .images import MANIFEST, Images, Manifest, digest_of

__all__ = ["Mark", "bury", "delete_tag", "living_digest", "tombstone"]

_MARK = re.compile(r"_pydatatask-deleting\.([0-9a-f]{8})[0-9a-f]{8}\.(.+)")
_NOTE = "pydatatask.deleted"
"""The annotation of a tombstone that names its job."""
_LENGTH = 1021
"""Bytes of every tombstone, so that a manifest of another length need not be looked into."""
_CONFIG = b"{}"
_ATTEMPTS = 4
"""How often a tombstone is deleted where a registry fails because others delete at the same time."""
_GONE = frozenset({202, 204, 404})
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
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "size": len(_CONFIG),
        "digest": digest_of(_CONFIG),
    }
    notes = {_NOTE: mark.job, "pydatatask.mark": mark.tag, "pydatatask.padding": ""}
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


async def _tombstone_at(images: Images, doing: str, tag: str, found: Answer) -> str | None:
    """Give the digest of the tombstone behind a tag, None if it is none."""
    if found.headers.get("content-length", str(_LENGTH)) != str(_LENGTH):
        return None
    content = await images.get(doing, tag)
    try:
        return digest_of(content) if content is not None and _NOTE in json.loads(content)["annotations"] else None
    except (ValueError, KeyError, TypeError):
        return None


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
        return await _delete_manifest(images, doing, left)
    answer = await images.delete(doing, job)
    if answer.status in _GONE:
        return None
    if answer.status not in _BY_DIGEST_ALONE:
        raise images.refusal(doing, answer)
    mark = Mark.new(job, now)
    grave = tombstone(mark)
    answer = await images.delete(doing, grave.digest)
    if answer.status not in _GONE:
        raise images.refusal(doing, answer)
    await images.put(doing, mark.tag, grave)
    await images.put(doing, job, grave)
    return await _delete_manifest(images, doing, grave.digest)


async def bury(images: Images, mark: Mark) -> None:
    """End a deletion that was begun and not ended. Does nothing if the mark is gone, or is none of ours."""
    doing = f"end the deletion of tag {mark.job!r}"
    if await images.get(doing, mark.tag) == tombstone(mark).content:
        await _delete_manifest(images, doing, tombstone(mark).digest)


async def _delete_manifest(images: Images, doing: str, digest: str) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        answer = await images.delete(doing, digest)
        if answer.status in _GONE:
            return
        if answer.status < 500 or attempt == _ATTEMPTS:
            raise images.refusal(doing, answer)
