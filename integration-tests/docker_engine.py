"""The back door to the Docker engine: what begins in the containers of an app, and what is left of them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import docker  # type: ignore[import-untyped]  # it has no type information
from attrs import define, field
from docker.models.containers import Container  # type: ignore[import-untyped]  # nor has this
from pydatatask_core.testing.services import service_missing

LABEL = "pydatatask.app"


@define
class Engine:
    """The containers of one app on the local engine."""

    app: str
    client: docker.DockerClient
    begun: list[str] = field(factory=list)
    """The job of each container that began."""

    def containers(self) -> list[Container]:
        found: list[Container] = self.client.containers.list(
            all=True, filters={"label": f"{LABEL}={self.app}"}, ignore_removed=True
        )
        return found

    def running(self) -> int:
        return sum(container.status == "running" for container in self.containers())

    def environment(self) -> dict[str, str]:
        """Give what tells a pipeline which app it is."""
        return {"TEST_APP": self.app}


@contextmanager
def engine_of_a_fresh_app() -> Iterator[Engine]:
    client = docker.from_env(timeout=60)
    try:
        client.ping()
    except docker.errors.DockerException as error:
        service_missing(f"no Docker engine answers: {error}")
    engine = Engine(f"kills-{secrets.token_hex(4)}", client)
    events = client.events(decode=True, filters={"label": f"{LABEL}={engine.app}", "event": "start"})

    def listen() -> None:
        for event in events:
            engine.begun.append(event["Actor"]["Attributes"]["pydatatask.job"])

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield engine
    finally:
        events.close()
        listener.join(10)
        for container in engine.containers():
            try:
                container.remove(force=True, v=True)
            except docker.errors.APIError:
                # It is gone, or about to go.
                continue
        client.close()
