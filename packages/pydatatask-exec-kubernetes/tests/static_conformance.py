"""Type checkers must accept this file: what the classes of this member are to those who use them."""

from __future__ import annotations

from pydatatask_core.repository.protocols import CanContain, CanDelete, CanInfo, CanList, CanWatch
from pydatatask_core.runs.interactive import Execution, Interactive
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.runs.site import ExecutionSite
from pydatatask_core.task.function import TaskFunction
from pydatatask_exec_kubernetes import KubeFunctionTask, KubeTask, LiveKubeRepository, PodManager
from pydatatask_exec_kubernetes.execution import PodExecution
from pydatatask_exec_kubernetes.manifest import Manifest


def manager(podman: PodManager) -> None:
    _site: ExecutionSite[Manifest] = podman
    _interactive: Interactive = podman


def tasks(task: KubeTask, function: KubeFunctionTask, func: TaskFunction) -> None:
    _task: SiteTask[Manifest] = task
    _function: KubeTask = function
    _decorated: KubeFunctionTask = function(func)


def live(repo: LiveKubeRepository) -> None:
    _verbs: tuple[CanList, CanContain, CanInfo, CanDelete, CanWatch] = (repo, repo, repo, repo, repo)


def execution(program: PodExecution) -> None:
    _execution: Execution = program
