"""Pods of a Kubernetes cluster."""

from .function import KubeFunctionTask
from .live import LiveKubeRepository
from .manager import PodManager
from .pod import Executed, LivePod
from .task import KubeOptions, KubeTask

__all__ = ["Executed", "KubeFunctionTask", "KubeOptions", "KubeTask", "LiveKubeRepository", "LivePod", "PodManager"]
