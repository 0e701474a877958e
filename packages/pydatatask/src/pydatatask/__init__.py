"""Data pipelines over any store and any machine.

Everything here comes from the members of the project, each of which is loaded when one of its names is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._exports import HOME, load

if TYPE_CHECKING:
    from pydatatask_cli import (
        cat_data as cat_data,
        delete_data as delete_data,
        inject_data as inject_data,
        launch as launch,
        list_data as list_data,
        main as main,
        print_status as print_status,
        print_trace as print_trace,
        run as run,
        shell as shell,
        update as update,
    )
    from pydatatask_core import (
        STDOUT as STDOUT,
        Added as Added,
        AggregateAndRepository as AggregateAndRepository,
        AggregateOrRepository as AggregateOrRepository,
        BlobRepository as BlobRepository,
        BlockingRepository as BlockingRepository,
        ChangeSource as ChangeSource,
        ConfigurationError as ConfigurationError,
        ConflictError as ConflictError,
        CreatingRepository as CreatingRepository,
        ExecutionSite as ExecutionSite,
        ExecutorTask as ExecutorTask,
        FunctionTask as FunctionTask,
        HostFile as HostFile,
        InProcessBlobRepository as InProcessBlobRepository,
        InProcessMetadataRepository as InProcessMetadataRepository,
        InProcessSyncTask as InProcessSyncTask,
        JobIdError as JobIdError,
        JsonMetadataBlobRepository as JsonMetadataBlobRepository,
        KeyEvent as KeyEvent,
        Link as Link,
        LiveRunRepository as LiveRunRepository,
        LiveRuns as LiveRuns,
        LockHeldError as LockHeldError,
        MalformedValueError as MalformedValueError,
        MapRepository as MapRepository,
        MetadataRepository as MetadataRepository,
        MissingJobError as MissingJobError,
        PathRepository as PathRepository,
        Pipeline as Pipeline,
        Polling as Polling,
        ProcessManager as ProcessManager,
        ProcessTask as ProcessTask,
        PydatataskError as PydatataskError,
        RelatedBlobRepository as RelatedBlobRepository,
        RelatedItemRepository as RelatedItemRepository,
        RelatedMetadataBlobRepository as RelatedMetadataBlobRepository,
        RelatedMetadataRepository as RelatedMetadataRepository,
        Removed as Removed,
        Repository as Repository,
        Resource as Resource,
        ResourceManager as ResourceManager,
        Resources as Resources,
        Resync as Resync,
        Retries as Retries,
        RunRecord as RunRecord,
        RunTask as RunTask,
        Session as Session,
        SessionClosedError as SessionClosedError,
        SiteCredentialsError as SiteCredentialsError,
        SiteFullError as SiteFullError,
        SiteTask as SiteTask,
        SiteUnavailableError as SiteUnavailableError,
        StoreCredentialsError as StoreCredentialsError,
        StoreFullError as StoreFullError,
        StorePermissionError as StorePermissionError,
        StoreUnavailableError as StoreUnavailableError,
        StreamRepository as StreamRepository,
        Task as Task,
        TemplateError as TemplateError,
        YamlMetadataBlobRepository as YamlMetadataBlobRepository,
    )
    from pydatatask_exec_docker import ContainerTask as ContainerTask, DockerManager as DockerManager
    from pydatatask_exec_kubernetes import (
        Executed as Executed,
        KubeFunctionTask as KubeFunctionTask,
        KubeOptions as KubeOptions,
        KubeTask as KubeTask,
        LiveKubeRepository as LiveKubeRepository,
        LivePod as LivePod,
        PodManager as PodManager,
    )
    from pydatatask_exec_local import LocalLinuxManager as LocalLinuxManager
    from pydatatask_exec_ssh import SSHLinuxManager as SSHLinuxManager
    from pydatatask_repos_docker import (
        DockerRepository as DockerRepository,
        ImageNames as ImageNames,
        RegistryClient as RegistryClient,
    )
    from pydatatask_repos_filesystem import (
        DirectoryRepository as DirectoryRepository,
        FileRepository as FileRepository,
        JsonMetadataFileRepository as JsonMetadataFileRepository,
        YamlMetadataFileRepository as YamlMetadataFileRepository,
    )
    from pydatatask_repos_mongodb import MongoMetadataRepository as MongoMetadataRepository
    from pydatatask_repos_s3 import (
        JsonMetadataS3Repository as JsonMetadataS3Repository,
        S3BucketInfo as S3BucketInfo,
        S3BucketRepository as S3BucketRepository,
        YamlMetadataS3Repository as YamlMetadataS3Repository,
    )

__all__ = sorted(HOME)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker would take every misspelt name for one that is there

    def __getattr__(name: str) -> object:
        value = globals()[name] = load(name)
        return value
