"""What an engine's account of a container and what stands in the container say together."""

from __future__ import annotations

from pydatatask_core.errors import MissingJobError
from pydatatask_core.runs.site import Sighting

from .engine import Engine, Inspected
from .spec import CODE, ENDED, FOLDER, MARK
from .status import KILLED, LOST, has_failed_to_start, of_inspected

__all__ = ["Reader"]


class Reader:
    """Reads accounts of an app's containers, and of what they leave no more than is needed."""

    def __init__(self, engine: Engine, app: str) -> None:
        self._engine = engine
        self._app = app
        self._digests: dict[str, str] = {}

    async def read(self, found: Inspected, host: str) -> Sighting | None:
        """Tell what an account of a container says of its run; None if it is no claim of the app's."""
        state = found["State"]
        over = state["Status"] in {"exited", "dead"}
        mark = obstacle = code = None
        # One that was ended on purpose does not end with success, and one that could not be removed cannot be read.
        if (state["Status"] == "exited" and state["ExitCode"] != 0) or has_failed_to_start(found):
            mark, code = await self._told_by(found)
        # Shells say by these that something cannot be run, and so do those who start shells.
        if mark is None and over and state["ExitCode"] in {125, 126, 127}:
            obstacle = await self._obstacle(found["Id"])
        return of_inspected(found, self._app, host, await self._image(found), mark, obstacle, code)

    async def _told_by(self, found: Inspected) -> tuple[str | None, int | None]:
        """Give what a container says itself: the word for why it was ended or never begins, and its script's status."""
        container, state = found["Id"], found["State"]
        mark = await self._engine.read(container, MARK)
        word = None if mark is None else mark.decode(errors="replace").strip()
        if word not in {None, LOST}:
            return word, None
        if has_failed_to_start(found):
            return None if await self._has_begun(container) else word, None
        # An engine that was killed may have missed how a script ended, and whoever was killed did not write it down.
        code = (await self._engine.read(container, CODE) or b"").strip()
        if not code.isdigit():
            return KILLED if state["ExitCode"] > 128 and not state.get("OOMKilled") else None, None
        return word if int(code) == ENDED else None, int(code)

    async def _has_begun(self, container: str) -> bool:
        """Tell whether a container has come as far as its script."""
        try:
            await (await self._engine.open(container, f"{FOLDER}/stdout")).close()
        except MissingJobError:
            return False
        return True

    async def _obstacle(self, container: str) -> str | None:
        """Give why a container ended without coming as far as its script; None if it did."""
        if await self._has_begun(container):
            return None
        return await self._engine.last_words(container) or "it ended before its script began"

    async def _image(self, found: Inspected) -> str:
        """Give what a container was made of: the name of an image, and its digest, its registry's if it has one."""
        name, image = str(found["Config"]["Image"]), str(found["Image"])
        if image not in self._digests:
            # An image may be deleted while its containers are there.
            told = await self._engine.image(image) or {}
            digests = (one.partition("@")[2] for one in told.get("RepoDigests") or ())
            self._digests[image] = next((digest for digest in digests if digest), image)
        return name if "@" in name else f"{name}@{self._digests[image]}"
