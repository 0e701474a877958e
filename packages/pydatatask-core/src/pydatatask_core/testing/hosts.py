"""The conformance suite of hosts: files, programs, scripts, and the whole life of runs.

A host's own tests have one class::

    class TestShedManager(ProcessManagerTests):
        @pytest.fixture
        def manager(self) -> ShedManager:
            return ShedManager("app", a_path_where_nothing_is)

        @pytest.fixture
        def twin(self, manager: ShedManager) -> ShedManager:
            return ShedManager("app", the_same_path)

        async def on_host(self, program: str, *arguments: str, as_root: bool = False) -> str: ...

A test may be skipped by a flag, and is never overridden.
"""

from __future__ import annotations

from .host_losses import HostLossTests
from .host_runs import HostRunTests
from .host_scripts import HostScriptTests
from .host_verbs import HostVerbTests

__all__ = ["ProcessManagerTests"]


class ProcessManagerTests(HostVerbTests, HostScriptTests, HostRunTests, HostLossTests):
    """Each promise of :class:`ProcessManager`, and of the site and the scripts that stand on it."""
