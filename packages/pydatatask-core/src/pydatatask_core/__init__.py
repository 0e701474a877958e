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
    Repository,
    StreamRepository,
)
from .session import Resource, Session
from .task.base import RunTask, Task
from .task.executor import ExecutorTask
from .task.function import FunctionTask, InProcessSyncTask
from .task.link import Link
from .task.policy import Retries
from .task.record import RunRecord

__all__ = [
    "Added",
    "AggregateAndRepository",
    "AggregateOrRepository",
    "BlobRepository",
    "BlockingRepository",
    "ChangeSource",
    "ConfigurationError",
    "ConflictError",
    "CreatingRepository",
    "ExecutorTask",
    "FunctionTask",
    "InProcessBlobRepository",
    "InProcessMetadataRepository",
    "InProcessSyncTask",
    "JobIdError",
    "JsonMetadataBlobRepository",
    "KeyEvent",
    "Link",
    "LockHeldError",
    "MalformedValueError",
    "MapRepository",
    "MetadataRepository",
    "MissingJobError",
    "Pipeline",
    "Polling",
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
