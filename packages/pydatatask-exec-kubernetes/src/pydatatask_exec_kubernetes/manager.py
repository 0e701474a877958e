"""A namespace of a Kubernetes cluster as a place for runs."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self

from attrs import evolve, frozen
from pydatatask_core.errors import ConfigurationError, ConflictError, MissingJobError, SiteFullError
from pydatatask_core.job import is_valid_name
from pydatatask_core.pipeline.quota import Resources
from pydatatask_core.runs.interactive import Execution, Interactive, TerminalSize
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.site import Cancellation, ExecutionSite, Gone, Phase, RunName, Sighting, Snapshot
from pydatatask_core.streams import BlobReader
from typing_extensions import override

from ._client import Cluster, Config, Pod
from ._errors import Call
from .execution import PodExecution
from .logs import LogReader
from .looking import OnePod
from .manifest import Manifest, complete, requests_of
from .naming import END, LABELS, WHY
from .room import Room
from .status import Ending, containers_of, gone, judged, running_in, sighting_of
from .watching import Change, Listing, follow_pods, list_pods

__all__ = ["PodManager"]

IN_FLIGHT = 16
"""Pods that are created, or deleted, at a time."""

_log = logging.getLogger("pydatatask.exec.kubernetes")

LATEST = 30.0
"""Seconds, beyond its own time, after which a container that is to end is taken to have ended."""

AT_ONCE = {"gracePeriodSeconds": 0}
AT_LAST = 1
"""Seconds that a pod may run that is to end: the least that there is."""


@frozen
class _Known:
    """What is remembered of a pod that exists."""

    sighting: Sighting
    version: int
    containers: list[str]
    requests: Resources
    has_node: bool

    @property
    def uid(self) -> str:
        return self.sighting.claim


class PodManager(ExecutionSite[Manifest], Interactive):
    """Runs pods in a namespace of a Kubernetes cluster.

    Creating a pod claims its run and starts it. Pods go on when the controller ends; the next one finds them by their
    labels. Connections are made when they are needed, and closed by :meth:`close`, or as an async context manager.
    """

    creating_starts = True
    tells_what_is_asked = True

    def __init__(self, app: str, namespace: str, config: Config | None = None) -> None:
        """:param app: part of the name of every pod. Two pipelines that share it must not share task names.
        :param config: a client configuration, or a function, async or not, that makes one. None takes the kubeconfig
            that KUBECONFIG names, or the one in the home folder; and within a pod its service account.
        :raises ConfigurationError: if the app's name is none.
        """
        if not is_valid_name(app):
            raise ConfigurationError(f"{app!r} is no valid app name. Use 1 to 63 letters, digits, '_' and '-'.")
        self.app = app
        self.namespace = namespace
        self.cluster = Cluster(config)
        self._room = Room()
        self._known: dict[RunName, _Known] = {}
        self._creating = asyncio.Semaphore(IN_FLIGHT)
        self._deleting = asyncio.Semaphore(IN_FLIGHT)

    @override
    def __repr__(self) -> str:
        return f"<PodManager {self.app} in namespace {self.namespace}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. May be called again."""
        self._known.clear()
        await self.cluster.close()

    @property
    @override
    def host(self) -> str:
        return f"namespace {self.namespace}"

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Sighting | Gone | Snapshot]]:
        yield self._events()

    async def _events(self) -> AsyncIterator[Sighting | Gone | Snapshot]:
        async for event in follow_pods(self.cluster, self.namespace, LABELS.wanted(self.app)):
            if isinstance(event, Listing):
                self._known.clear()
                seen = [self._see(pod) for pod in event.pods]
                yield Snapshot([sighting for sighting in seen if sighting is not None])
            elif (sighting := self._see(event.pod)) is not None:
                yield self._after(event, sighting)

    def _after(self, event: Change, sighting: Sighting) -> Sighting:
        if event.kind == "DELETED" or sighting.phase is Phase.ENDED:
            self._room.look_soon()
        if event.kind != "DELETED":
            return sighting
        known = self._known.get(sighting.run)
        if known is not None and known.uid == sighting.claim:
            del self._known[sighting.run]
        return gone(sighting)

    def _see(self, pod: Pod) -> Sighting | None:
        """Take in a pod. An answer may come after the watch has told what happened since: the newer one counts."""
        sighting = sighting_of(pod, self.app)
        if sighting is None:
            return None
        version = int(pod["metadata"]["resourceVersion"])
        known = self._known.get(sighting.run)
        if known is not None and known.uid == sighting.claim:
            if known.version > version:
                return known.sighting
            # The status of a pod that was evicted tells nothing of its containers any more.
            sighting = evolve(sighting, start_time=sighting.start_time or known.sighting.start_time)
        self._known[sighting.run] = _Known(
            sighting, version, containers_of(pod), requests_of(pod), has_node=bool(pod["spec"].get("nodeName"))
        )
        return sighting

    @override
    async def claim(self, run: RunName, owner: str, spec: Manifest) -> Sighting | None:
        try:
            made = await self._create(run, complete(spec, self.app, self.namespace, run, owner))
        except ConflictError:
            await self._check_taken(run)
            return None
        return self._see(made)

    async def _create(self, run: RunName, pod: Pod) -> Pod:
        """Make a pod, unless others wait for room that it would need, too."""
        requests = requests_of(pod)
        async with self._creating:
            self._room.check(run, requests)
            try:
                made: Pod = await self.cluster.call(Call("create", self.namespace), pod)
            except SiteFullError as error:
                raise self._room.refused(run, requests, error) from error
            except ConflictError:
                self._room.taken(run, requests)
                raise
            self._room.taken(run, requests)
            return made

    async def _check_taken(self, run: RunName) -> None:
        """See that what stands where a pod was to be made is a pod of that run.

        :raises ConflictError: if it is something else.
        """
        name = dns_name(self.app, run)
        try:
            found = await self.cluster.call(Call("get", self.namespace, name))
        except MissingJobError:
            return
        told = found["metadata"].get("labels") or {}
        if LABELS.run(told, name, self.app) != run:
            raise ConflictError(
                f"Cannot create pod {name} for task {run.task} on job {run.job}: a pod of that name is in namespace "
                f"{self.namespace}, and is not of app {self.app}, or not of that run. Delete it, or rename the app."
            )

    @override
    async def look(self, task: str, job: str) -> list[Sighting]:
        pods, _ = await list_pods(self.cluster, self.namespace, LABELS.wanted(self.app, task, job))
        seen = [sighting for pod in pods if (sighting := self._see(pod)) is not None]
        return sorted(seen, key=lambda sighting: sighting.run.attempt)

    @override
    async def look_all(self, task: str) -> list[Sighting]:
        pods, _ = await list_pods(self.cluster, self.namespace, LABELS.wanted(self.app, task))
        return [sighting for pod in pods if (sighting := self._see(pod)) is not None]

    def requests(self, run: RunName) -> Resources | None:
        """Give what a pod requests that is known to exist."""
        known = self._known.get(run)
        return None if known is None else known.requests

    @override
    async def start(self, run: RunName) -> None:
        """A pod starts by being created."""

    @override
    async def cancel(self, sighting: Sighting, how: Cancellation) -> None:
        await self.end(sighting, how)

    async def end(self, sighting: Sighting, ending: Ending, why: str | None = None) -> None:
        """End a pod, after writing down on it why, so that whoever sees it end knows.

        Its time is made to be up, so that it stays until its logs are stored; one that leaves no record, or is on no
        node, is deleted. Never both: some nodes would keep it for ever. One that is over is only written on.

        :param why: in words for people.
        """
        notes = {"metadata": {"uid": sighting.claim, "annotations": {END: ending, WHY: why}}}
        try:
            await self._bring_to_its_end(
                await self.cluster.call(Call("patch", self.namespace, sighting.identity["name"]), notes)
            )
        except (ConflictError, MissingJobError):
            # It is gone, and perhaps another one has its name.
            return

    async def go_on_ending(self, sighting: Sighting) -> None:
        """Do what is left of :meth:`end` for a pod of which it is written down why it ends: whoever wrote that may have
        been kept from the rest.
        """
        try:
            pod = await self.cluster.call(Call("get", self.namespace, sighting.identity["name"]))
            # What a cluster itself ends has no word of ours.
            if pod["metadata"]["uid"] == sighting.claim and END in (pod["metadata"].get("annotations") or {}):
                await self._bring_to_its_end(pod)
        except (ConflictError, MissingJobError):
            return

    async def _bring_to_its_end(self, pod: Pod) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        name, uid = metadata["name"], metadata["uid"]
        if metadata.get("deletionTimestamp") is not None:
            return
        is_over = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if metadata["annotations"].get(END) == "dropped" or not (is_over or spec.get("nodeName")):
            await self._delete(name, uid)
        elif not is_over and spec.get("activeDeadlineSeconds") != AT_LAST:
            time_is_up = {"metadata": {"uid": uid}, "spec": {"activeDeadlineSeconds": AT_LAST}}
            await self.cluster.call(Call("patch", self.namespace, name), time_is_up)

    async def _delete(self, name: str, uid: str, **options: Any) -> None:
        async with self._deleting:
            await self.cluster.call(
                Call("delete", self.namespace, name),
                {"preconditions": {"uid": uid}, "propagationPolicy": "Background", **options},
            )

    @override
    async def finish(self, sighting: Sighting) -> Sighting:
        """Wait until the containers of a pod have ended whose time was up. Some nodes do not tell when."""
        call = Call("get", self.namespace, sighting.identity["name"])
        try:
            pod = await self.cluster.call(call)
        except MissingJobError:
            return gone(sighting)
        if pod["metadata"]["uid"] != sighting.claim:
            return gone(sighting)
        try:
            async with asyncio.timeout(LATEST + (pod["spec"].get("terminationGracePeriodSeconds") or 0)):
                await self._until_quiet(self._one(sighting.identity["name"], sighting.claim), running_in(pod))
        except TimeoutError:
            _log.warning("Pod %s should have ended, and its log has not; it is taken to have.", call.name)
        except MissingJobError:
            # There is no log, or no pod any more: nothing writes.
            pass
        return judged(sighting, pod)

    async def _until_quiet(self, pod: OnePod, containers: Sequence[str]) -> None:
        """Wait until containers have ended: a log that is followed ends then."""
        for container in containers:
            async with LogReader(pod, [container], follow=True, only_new=True) as reader:
                await reader.begin()
                await reader.skip(sys.maxsize)

    @override
    async def vanished(self, last: Sighting) -> Sighting:
        try:
            pod = await self.cluster.call(Call("get", self.namespace, last.identity["name"]))
        except MissingJobError:
            return gone(last)
        sighting = self._see(pod) if pod["metadata"]["uid"] == last.claim else None
        return gone(last) if sighting is None else sighting

    @override
    async def open_output(self, run: RunName, stream: Literal["stdout", "stderr"], offset: int = 0) -> BlobReader:
        """Open a pod's log. Its two streams are one there: ``stdout``."""
        reader = await self._log(run, stream, follow=False)
        await reader.skip(offset)
        return reader

    @override
    async def follow_output(self, run: RunName, stream: Literal["stdout", "stderr"]) -> BlobReader:
        return await self.once_begun(run, lambda: self._log(run, stream, follow=True))

    async def _log(self, run: RunName, stream: str, *, follow: bool) -> LogReader:
        if stream != "stdout":
            raise MissingJobError(f"A pod's output and errors are one log. Ask for the output of {run.task} {run.job}.")
        name = dns_name(self.app, run)
        known = self._known.get(run)
        if known is not None and known.has_node:
            reader = LogReader(self._one(name, known.uid), known.containers, follow=follow)
        else:
            pod = await self.cluster.call(Call("get", self.namespace, name))
            if not pod["spec"].get("nodeName"):
                # The server would give an empty log, which would look like the whole of it.
                raise MissingJobError(f"Pod {name} is on no node yet, so that it has written nothing.")
            reader = LogReader(self._one(name, pod["metadata"]["uid"]), containers_of(pod), follow=follow)
        await reader.begin()
        return reader

    def _one(self, name: str, uid: str) -> OnePod:
        return OnePod(self.cluster, self.namespace, name, uid)

    @override
    async def exec(self, run: RunName, argv: Sequence[str], *, terminal: TerminalSize | None = None) -> Execution:
        name = dns_name(self.app, run)
        pod = await self.cluster.call(Call("get", self.namespace, name))
        if pod.get("status", {}).get("phase") != "Running":
            raise MissingJobError(f"Task {run.task} is not running on job {run.job}, so that nothing can be run there.")
        one = self._one(name, pod["metadata"]["uid"])
        first = pod["spec"]["containers"][0]["name"]
        execution = await PodExecution.begin(one, first, argv, terminal=terminal is not None)
        if terminal is not None:
            await execution.resize(terminal)
        return execution

    @override
    async def release(self, task: str, job: str) -> None:
        runs = [(run, known.uid) for run, known in self._known.items() if (run.task, run.job) == (task, job)]
        if not runs:
            runs = [(seen.run, seen.claim) for seen in await self.look(task, job)]
        await asyncio.gather(*(self._release(run, uid) for run, uid in runs))

    async def _release(self, run: RunName, uid: str) -> None:
        try:
            await self._delete(dns_name(self.app, run), uid, **AT_ONCE)
        except (ConflictError, MissingJobError):
            # Somebody else has deleted it.
            pass
        known = self._known.get(run)
        if known is not None and known.uid == uid:
            del self._known[run]
