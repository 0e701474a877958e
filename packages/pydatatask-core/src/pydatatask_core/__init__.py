"""Contracts, scheduling and the controller of pydatatask."""

from __future__ import annotations

from .errors import (
    ConfigurationError,
    ConflictError,
    JobIdError,
    LockHeldError,
    MalformedValueError,
    MissingJobError,
    PydatataskError,
    SessionClosedError,
    SiteCredentialsError,
    SiteFullError,
    SiteUnavailableError,
    StoreCredentialsError,
    StoreFullError,
    StorePermissionError,
    StoreUnavailableError,
    TemplateError,
)
from .pipeline.feed import Polling
from .pipeline.pipeline import Pipeline
from .pipeline.quota import ResourceManager, Resources
from .repository.changes import Added, ChangeSource, KeyEvent, Removed, Resync
from .repository.combinators import (
    AggregateAndRepository,
    AggregateOrRepository,
    BlockingRepository,
    MapRepository,
    RelatedBlobRepository,
    RelatedItemRepository,
    RelatedMetadataBlobRepository,
    RelatedMetadataRepository,
)
from .repository.encoded import JsonMetadataBlobRepository, YamlMetadataBlobRepository
from .repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from .repository.protocols import (
    BlobRepository,
    CreatingRepository,
    MetadataRepository,
    PathRepository,
    Repository,
    StreamRepository,
)
from .runs.host import HostFile, ProcessManager
from .runs.lifecycle import SiteTask
from .runs.live import LiveRunRepository
from .runs.site import ExecutionSite
from .session import Resource, Session
from .task.base import Task
from .task.executor import ExecutorTask
from .task.function import FunctionTask, InProcessSyncTask
from .task.link import Link
from .task.live import LiveRuns
from .task.policy import Retries
from .task.process import ProcessTask
from .task.record import RunRecord
from .task.run import RunTask
from .task.script import STDOUT

__all__ = [
    "STDOUT",
    "Added",
    "AggregateAndRepository",
    "AggregateOrRepository",
    "BlobRepository",
    "BlockingRepository",
    "ChangeSource",
    "ConfigurationError",
    "ConflictError",
    "CreatingRepository",
    "ExecutionSite",
    "ExecutorTask",
    "FunctionTask",
    "HostFile",
    "InProcessBlobRepository",
    "InProcessMetadataRepository",
    "InProcessSyncTask",
    "JobIdError",
    "JsonMetadataBlobRepository",
    "KeyEvent",
    "Link",
    "LiveRunRepository",
    "LiveRuns",
    "LockHeldError",
    "MalformedValueError",
    "MapRepository",
    "MetadataRepository",
    "MissingJobError",
    "PathRepository",
    "Pipeline",
    "Polling",
    "ProcessManager",
    "ProcessTask",
    "PydatataskError",
    "RelatedBlobRepository",
    "RelatedItemRepository",
    "RelatedMetadataBlobRepository",
    "RelatedMetadataRepository",
    "Removed",
    "Repository",
    "Resource",
    "ResourceManager",
    "Resources",
    "Resync",
    "Retries",
    "RunRecord",
    "RunTask",
    "Session",
    "SessionClosedError",
    "SiteCredentialsError",
    "SiteFullError",
    "SiteTask",
    "SiteUnavailableError",
    "StoreCredentialsError",
    "StoreFullError",
    "StorePermissionError",
    "StoreUnavailableError",
    "StreamRepository",
    "Task",
    "TemplateError",
    "YamlMetadataBlobRepository",
]
