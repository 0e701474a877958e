"""What mypy must accept: each class is what it claims to be."""

from __future__ import annotations

from collections.abc import Callable

from aiodocker import Docker
from pydatatask_core import ExecutionSite, SiteTask
from pydatatask_core.runs.interactive import Execution, Interactive
from pydatatask_core.streams import BlobReader, ReadStream
from pydatatask_exec_docker import ContainerTask, DockerManager
from pydatatask_exec_docker.execution import ContainerExecution
from pydatatask_exec_docker.reading import ArchivedFile, FollowedFile
from pydatatask_exec_docker.spec import ContainerSpec


def manager(app: str, docker: Docker) -> DockerManager:
    """The constructor, as it may be called."""
    return DockerManager(app, docker)


def site(found: DockerManager) -> ExecutionSite[ContainerSpec]:
    return found


def interactive(found: DockerManager) -> Interactive:
    return found


def resource(found: Callable[[], DockerManager]) -> Callable[[], ExecutionSite[ContainerSpec]]:
    return found


def task(found: ContainerTask) -> SiteTask[ContainerSpec]:
    return found


def execution(found: ContainerExecution) -> Execution:
    return found


def readers(archived: ArchivedFile, followed: FollowedFile) -> tuple[BlobReader, ReadStream]:
    return archived, followed
