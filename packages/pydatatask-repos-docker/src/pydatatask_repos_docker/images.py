"""The tags of one repository in a registry, as requests."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping

from attrs import frozen
from pydatatask_core.errors import StoreUnavailableError
from yarl import URL

from ._errors import Answer, refusal, translated
from .client import RegistryClient, Request

__all__ = ["Images", "Manifest", "digest_of"]

PAGE = 1000
"""Tags that are asked for at once. Registries may give more, or fewer."""

ATTEMPTS = 5
"""How often a manifest is put. A registry may fail while others change the same tag or send the same blob."""
PAUSE = 0.05
"""Seconds between the first two of these; one more each time."""

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ACCEPT = ", ".join(
    (
        MANIFEST,
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)

_NO_REPOSITORY = frozenset({"NAME_UNKNOWN", "NOT_FOUND"})
"""What registries say of a repository that nothing was pushed to yet."""


def digest_of(content: bytes) -> str:
    """Give the name that a registry knows bytes by."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@frozen
class Manifest:
    """A manifest in the OCI's format, with the one small blob that it needs."""

    content: bytes
    config: bytes

    @property
    def digest(self) -> str:
        """Its name."""
        return digest_of(self.content)


@frozen
class Images:
    """One repository, seen through an open client."""

    client: RegistryClient
    domain: str
    name: str

    async def ask(
        self, doing: str, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Make a request below the repository, or at a URL that the registry gave."""
        name = self.name if "/" in self.name or self.domain != "docker.io" else f"library/{self.name}"
        url = path if "://" in path or path.startswith("/") else f"/v2/{name}/{path}"
        return await self.client.ask(Request(self.domain, self.name, doing, method, url, headers or {}, body))

    def refusal(self, doing: str, answer: Answer) -> Exception:
        """Give the error for an answer that was not expected."""
        return refusal(doing, f"Docker repository {self.domain}/{self.name}", answer)

    async def tags(self) -> AsyncIterator[list[str]]:
        """Give the tags by the page, in the order of the registry. A repository without any may be unknown to it."""
        doing = "list the tags"
        path, seen = f"tags/list?n={PAGE}", set[str]()
        while path not in seen:
            seen.add(path)
            answer = await self.ask(doing, "GET", path)
            if answer.status == 404 and _NO_REPOSITORY.intersection(answer.codes):
                return
            if answer.status != 200:
                raise self.refusal(doing, answer)
            with translated(doing, f"Docker repository {self.domain}/{self.name}"):
                tags = _tags_in(answer.body)
            yield tags
            if not answer.next_page:
                return
            # At this registry and nowhere else, whatever it says.
            path = URL(answer.next_page).raw_path_qs
        raise StoreUnavailableError(
            f"Cannot {doing} in Docker repository {self.domain}/{self.name}: the registry gives the same page again "
            "and again. Look into its log."
        )

    async def look(self, doing: str, tag: str) -> Answer | None:
        """Give what the headers tell of a tag's manifest, None if there is no such tag."""
        answer = await self.ask(doing, "HEAD", f"manifests/{tag}", {"Accept": ACCEPT})
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self.refusal(doing, answer)
        return answer

    async def get(self, doing: str, tag: str) -> bytes | None:
        """Give a tag's manifest, None if there is no such tag."""
        answer = await self.ask(doing, "GET", f"manifests/{tag}", {"Accept": ACCEPT})
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self.refusal(doing, answer)
        return answer.body

    async def put(self, doing: str, tag: str, manifest: Manifest) -> None:
        """Have a tag name a manifest. Its blob is sent if the registry lacks it."""
        for attempt in range(1, ATTEMPTS + 1):
            answer = await self.ask(doing, "PUT", f"manifests/{tag}", {"Content-Type": MANIFEST}, manifest.content)
            if answer.status == 201:
                return
            lacking = "MANIFEST_BLOB_UNKNOWN" in answer.codes
            if (answer.status < 500 and not lacking) or attempt == ATTEMPTS:
                raise self.refusal(doing, answer)
            if lacking:
                await self._put_blob(doing, manifest.config)
            else:
                await asyncio.sleep(attempt * PAUSE)

    async def _put_blob(self, doing: str, content: bytes) -> None:
        begun = await self.ask(doing, "POST", "blobs/uploads/", body=b"")
        if begun.status != 202 or not begun.headers.get("location"):
            raise self.refusal(doing, begun)
        location = URL(begun.headers["location"], encoded=True).update_query(digest=digest_of(content))
        sent = await self.ask(doing, "PUT", str(location), {"Content-Type": "application/octet-stream"}, content)
        # A PUT whose answer was lost is sent again unseen, when the upload has ended. The manifest that follows tells.
        if sent.status not in (201, 404):
            raise self.refusal(doing, sent)

    async def delete(self, doing: str, reference: str) -> Answer:
        """Ask for a manifest to be deleted by digest, with all its tags, or by tag. Give the answer as it is."""
        return await self.ask(doing, "DELETE", f"manifests/{reference}")


def _tags_in(body: bytes) -> list[str]:
    found = json.loads(body)
    tags = found["tags"] if isinstance(found, dict) and "tags" in found else ()
    if tags is None:
        return []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("the list of tags is none")
    return tags
