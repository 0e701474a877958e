"""Which member each name of this package comes from, and how it is fetched when it is first used.

A member, and the library that it stands on, costs nothing until then.
"""

from __future__ import annotations

import importlib

__all__ = ["HOME", "load"]

HOME = {
    "Added": "pydatatask_core",
    "AggregateAndRepository": "pydatatask_core",
    "AggregateOrRepository": "pydatatask_core",
    "BlobRepository": "pydatatask_core",
    "BlockingRepository": "pydatatask_core",
    "ChangeSource": "pydatatask_core",
    "ConfigurationError": "pydatatask_core",
    "ConflictError": "pydatatask_core",
    "ContainerTask": "pydatatask_exec_docker",
    "CreatingRepository": "pydatatask_core",
    "DirectoryRepository": "pydatatask_repos_filesystem",
    "DockerManager": "pydatatask_exec_docker",
    "DockerRepository": "pydatatask_repos_docker",
    "Executed": "pydatatask_exec_kubernetes",
    "ExecutionSite": "pydatatask_core",
    "ExecutorTask": "pydatatask_core",
    "FileRepository": "pydatatask_repos_filesystem",
    "FunctionTask": "pydatatask_core",
    "HostFile": "pydatatask_core",
    "ImageNames": "pydatatask_repos_docker",
    "InProcessBlobRepository": "pydatatask_core",
    "InProcessMetadataRepository": "pydatatask_core",
    "InProcessSyncTask": "pydatatask_core",
    "JobIdError": "pydatatask_core",
    "JsonMetadataBlobRepository": "pydatatask_core",
    "JsonMetadataFileRepository": "pydatatask_repos_filesystem",
    "JsonMetadataS3Repository": "pydatatask_repos_s3",
    "KeyEvent": "pydatatask_core",
    "KubeFunctionTask": "pydatatask_exec_kubernetes",
    "KubeOptions": "pydatatask_exec_kubernetes",
    "KubeTask": "pydatatask_exec_kubernetes",
    "Link": "pydatatask_core",
    "LiveKubeRepository": "pydatatask_exec_kubernetes",
    "LivePod": "pydatatask_exec_kubernetes",
    "LiveRunRepository": "pydatatask_core",
    "LiveRuns": "pydatatask_core",
    "LocalLinuxManager": "pydatatask_exec_local",
    "LockHeldError": "pydatatask_core",
    "MalformedValueError": "pydatatask_core",
    "MapRepository": "pydatatask_core",
    "MetadataRepository": "pydatatask_core",
    "MissingJobError": "pydatatask_core",
    "MongoMetadataRepository": "pydatatask_repos_mongodb",
    "PathRepository": "pydatatask_core",
    "Pipeline": "pydatatask_core",
    "PodManager": "pydatatask_exec_kubernetes",
    "Polling": "pydatatask_core",
    "ProcessManager": "pydatatask_core",
    "ProcessTask": "pydatatask_core",
    "PydatataskError": "pydatatask_core",
    "RegistryClient": "pydatatask_repos_docker",
    "RelatedBlobRepository": "pydatatask_core",
    "RelatedItemRepository": "pydatatask_core",
    "RelatedMetadataBlobRepository": "pydatatask_core",
    "RelatedMetadataRepository": "pydatatask_core",
    "Removed": "pydatatask_core",
    "Repository": "pydatatask_core",
    "Resource": "pydatatask_core",
    "ResourceManager": "pydatatask_core",
    "Resources": "pydatatask_core",
    "Resync": "pydatatask_core",
    "Retries": "pydatatask_core",
    "RunRecord": "pydatatask_core",
    "RunTask": "pydatatask_core",
    "S3BucketInfo": "pydatatask_repos_s3",
    "S3BucketRepository": "pydatatask_repos_s3",
    "SSHLinuxManager": "pydatatask_exec_ssh",
    "STDOUT": "pydatatask_core",
    "Session": "pydatatask_core",
    "SessionClosedError": "pydatatask_core",
    "SiteCredentialsError": "pydatatask_core",
    "SiteFullError": "pydatatask_core",
    "SiteTask": "pydatatask_core",
    "SiteUnavailableError": "pydatatask_core",
    "StoreCredentialsError": "pydatatask_core",
    "StoreFullError": "pydatatask_core",
    "StorePermissionError": "pydatatask_core",
    "StoreUnavailableError": "pydatatask_core",
    "StreamRepository": "pydatatask_core",
    "Task": "pydatatask_core",
    "TemplateError": "pydatatask_core",
    "YamlMetadataBlobRepository": "pydatatask_core",
    "YamlMetadataFileRepository": "pydatatask_repos_filesystem",
    "YamlMetadataS3Repository": "pydatatask_repos_s3",
    "cat_data": "pydatatask_cli",
    "delete_data": "pydatatask_cli",
    "inject_data": "pydatatask_cli",
    "launch": "pydatatask_cli",
    "list_data": "pydatatask_cli",
    "main": "pydatatask_cli",
    "print_status": "pydatatask_cli",
    "print_trace": "pydatatask_cli",
    "run": "pydatatask_cli",
    "shell": "pydatatask_cli",
    "update": "pydatatask_cli",
}
"""Every name of this package, and the module that it is taken from."""


def load(name: str) -> object:
    """Fetch what a name stands for.

    :raises AttributeError: if this package has no such name.
    :raises ModuleNotFoundError: if the member that has it is not installed. Names the package to install.
    """
    module = HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'pydatatask' has no attribute {name!r}")
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        # An AttributeError would lose its message: 'from pydatatask import' replaces it by one that names no package.
        package = module.replace("_", "-")
        raise ModuleNotFoundError(
            f"pydatatask.{name} is in the package {package}, which is not installed. "
            f"Install it: python -m pip install {package}",
            name=module,
        ) from None
    return getattr(home, name)
