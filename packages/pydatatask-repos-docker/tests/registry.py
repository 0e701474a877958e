"""A real registry in a container, and a back door to it: plain requests that push and look."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from attrs import frozen
from pydatatask_core.testing.services import service_missing

LABEL = "pydatatask-test"
USER, PASSWORD = "tester", "correct horse"
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


@frozen
class Registry:
    """A registry that runs."""

    domain: str
    container: Any
    """testcontainers' object; its library has no types for what Docker gives."""

    def kill(self) -> None:
        """End it at once, as when its machine fails. What it stored stays."""
        self.container.get_wrapped_container().kill()

    def start(self) -> None:
        """Start it again, on the same port, and wait until it answers."""
        self.container.get_wrapped_container().start()
        wait_for(self.domain)


def htpasswd(folder: Path) -> dict[str, str]:
    """Give a registry's settings that have it let in one user, whose password is put into a folder."""
    (folder / "htpasswd").write_text(HTPASSWD)
    return {
        "REGISTRY_AUTH": "htpasswd",
        "REGISTRY_AUTH_HTPASSWD_REALM": "test",
        "REGISTRY_AUTH_HTPASSWD_PATH": "/auth/htpasswd",
    }


@contextmanager
def running(
    *, deletes: bool = True, auth: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Registry]:
    """Run a registry on a port of the loopback interface that stays the same over a restart.

    ``settings`` are environment variables; ``auth`` is a folder that the registry finds at ``/auth``.
    """
    from docker.errors import DockerException  # type: ignore[import-untyped]  # it has no type information
    from testcontainers.core.container import DockerContainer

    image = os.environ.get("PYDATATASK_TEST_REGISTRY_IMAGE", "registry:2")
    port = free_port()
    try:
        container = DockerContainer(image).with_kwargs(labels={LABEL: "registry"})
        ports: dict[str, Any] = container.ports
        ports["5000/tcp"] = ("127.0.0.1", port)
        container.with_env("REGISTRY_STORAGE_DELETE_ENABLED", str(deletes).lower())
        if auth is not None:
            container.with_volume_mapping(str(auth), "/auth", "ro")
        for variable, value in (settings or {}).items():
            container.with_env(variable, value)
        container.start()
    # A pull that nobody answers ends by the client's own timeout, as an error of its HTTP library.
    except (DockerException, OSError) as error:
        service_missing(f"No registry could be started from the image {image} with Docker: {error}")
    try:
        wait_for(f"127.0.0.1:{port}")
        yield Registry(f"127.0.0.1:{port}", container)
    finally:
        container.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def wait_for(domain: str) -> None:
    """Wait until a registry answers."""
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://{domain}/v2/", timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"the registry at {domain} does not answer"
        time.sleep(0.05)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class BackDoor:
    """Pushes small images, and looks at them, by plain requests."""

    def __init__(self, http: aiohttp.ClientSession, domain: str, repository: str) -> None:
        self._http = http
        self._base = f"http://{domain}/v2/{repository}"
        self._pushed: dict[bytes, bytes] = {}

    async def push(self, tag: str, value: bytes) -> str:
        """Push an image that holds a value, and give its digest. Equal values have one digest."""
        manifest = self._pushed.get(value)
        if manifest is None:
            manifest = self._pushed[value] = await self._prepare(value)
        headers = {"Content-Type": MANIFEST}
        async with self._http.put(f"{self._base}/manifests/{tag}", data=manifest, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        return digest_of(manifest)

    async def _prepare(self, value: bytes) -> bytes:
        config = json.dumps({"architecture": "none", "os": "none", "value": value.decode()}).encode()
        async with self._http.post(f"{self._base}/blobs/uploads/") as begun:
            assert begun.status == 202, await begun.text()
            location = begun.headers["Location"]
        where = location + ("&" if "?" in location else "?") + f"digest={digest_of(config)}"
        async with self._http.put(where, data=config) as sent:
            assert sent.status == 201, await sent.text()
        descriptor = {"mediaType": CONFIG, "size": len(config), "digest": digest_of(config)}
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": []}).encode()

    async def pull(self, tag: str) -> bytes | None:
        """Give the value of an image, None if there is none."""
        async with self._http.get(f"{self._base}/manifests/{tag}", headers={"Accept": MANIFEST}) as answer:
            if answer.status == 404:
                return None
            assert answer.status == 200, await answer.text()
            manifest = json.loads(await answer.read())
        async with self._http.get(f"{self._base}/blobs/{manifest['config']['digest']}") as answer:
            assert answer.status == 200
            value: str = json.loads(await answer.read())["value"]
        return value.encode()

    async def tags(self) -> list[str]:
        async with self._http.get(f"{self._base}/tags/list") as answer:
            if answer.status == 404:
                return []
            return sorted(json.loads(await answer.read())["tags"] or [])

    async def push_all(self, tags: set[str], value: bytes) -> None:
        names = iter(tags)

        async def work() -> None:
            for tag in names:
                await self.push(tag, value)

        if value not in self._pushed:
            self._pushed[value] = await self._prepare(value)
        await asyncio.gather(*(work() for _ in range(16)))
