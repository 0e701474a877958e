"""Tasks that are scripts: what a script is given and what it leaves, wherever it runs."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from enum import Enum
from functools import partial
from os import PathLike
from typing import Final, Literal, TypeVar

from typing_extensions import Unpack, override

from ..errors import ConfigurationError
from ..repository.protocols import BlobRepository, MetadataRepository, PathRepository, Repository
from ..runs.lifecycle import SiteTask
from ..runs.site import RunName, Sighting
from .policy import Seconds, seconds
from .record import RunRecord
from .run import RunOptions
from .template import Template, Variables

__all__ = ["STDOUT", "Interleave", "ScriptTask"]


class Interleave(Enum):
    """Where standard error may go but to a repository."""

    STDOUT = "stdout"


STDOUT: Final = Interleave.STDOUT
"""As ``stderr`` of a task: standard error goes where standard output goes, in the order in which it is written."""

STREAMS = frozenset({"stdin", "stdout", "stderr"})

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Spec = TypeVar("Spec")


class ScriptTask(SiteTask[Spec]):
    """A script that runs once per job, with its streams and its environment.

    Exit status 0 is success. Outputs are stored when the last attempt has ended, and before the done record.
    """

    def __init__(
        self,
        name: str,
        template: str | PathLike[str],
        *,
        environ: Mapping[str, str] | None = None,
        done: MetadataRepository | None = None,
        stdin: BlobRepository | None = None,
        stdout: BlobRepository | None = None,
        stderr: BlobRepository | Interleave | None = None,
        ready: Repository | None = None,
        grace: Seconds = 10.0,
        **options: Unpack[RunOptions],
    ) -> None:
        """:param template: the script, rendered with Jinja2; or a file that holds it. See :class:`Template`.
        :param environ: environment variables, each rendered as the script is. The best way to give a script values.
        :param stdin: gives each job's standard input.
        :param stdout: gets each job's standard output.
        :param stderr: gets each job's standard error; or :data:`STDOUT`, to have it among the output.
        :param grace: the time that a script has between TERM and KILL, if it is to end.
        :param options: see :class:`RunOptions`.
        :raises ConfigurationError: naming what is wrong.
        """
        super().__init__(name, done, ready, **options)
        if not isinstance(stderr, BlobRepository | Interleave | None):
            raise ConfigurationError(f"Task {name!r}: stderr is {stderr!r}. Give a BlobRepository, or STDOUT.")
        self.grace = seconds(grace) or 0.0
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = None if isinstance(stderr, Interleave) else stderr
        self.interleaved = stderr is STDOUT
        self.template = Template(template, f"The script of task {name!r}")
        self.environ = {
            variable: Template(text, f"Environment variable {variable} of task {name!r}")
            for variable, text in (environ or {}).items()
        }
        for variable in self.environ:
            if not _VARIABLE.fullmatch(variable):
                raise ConfigurationError(f"Task {name!r}: {variable!r} is no name of an environment variable.")
        if self.stdin is not None:
            self.link("stdin", self.stdin, is_input=True)
        if self.stdout is not None:
            self.link("stdout", self.stdout, is_output=True)
        if self.stderr is not None:
            self.link("stderr", self.stderr, is_output=True)

    @property
    @abstractmethod
    def is_here(self) -> bool:
        """Whether the script sees files of this machine."""

    @abstractmethod
    def staged_name(self, run: RunName, link: str) -> str:
        """Give the path at which the script writes an output that is a file or a folder."""

    @abstractmethod
    def staged_path(self, run: RunName, link: str) -> str:
        """Give the path at which this process finds that output."""

    def files(self, *, outputs: bool) -> dict[str, PathRepository]:
        """Give the links to files and folders that the script can see.

        :param outputs: those that it writes, to a private place, from which they are published after success. Else
            those that it reads.
        """
        if not self.is_here:
            return {}
        return {
            name: link.repo
            for name, link in self.links.items()
            if isinstance(link.repo, PathRepository) and name not in STREAMS and link.is_output is outputs
        }

    def variables(self, run: RunName, given: Mapping[str, str]) -> Variables:
        """Give what the templates may name.

        :param given: what this kind of task adds.
        """
        asked = {name: partial(link.repo.info, run.job) for name, link in self.links.items()}
        staged = {name: self.staged_name(run, name) for name in self.files(outputs=True)}
        return {"attempt": str(run.attempt), **asked, **staged, **given, "job": run.job, "task": self.name}

    async def environment(self, variables: Variables) -> dict[str, str]:
        """Render the environment variables."""
        return {name: await text.render(variables) for name, text in self.environ.items()}

    @override
    def stored_output(self, stream: Literal["stdout", "stderr"]) -> BlobRepository | None:
        return self.stdout if stream == "stdout" or self.interleaved else self.stderr

    @override
    async def collect(self, sighting: Sighting, record: RunRecord) -> None:
        run = sighting.run
        if record.succeeded:
            for name, repo in self.files(outputs=True).items():
                await repo.publish(run.job, self.staged_path(run, name))
        if self.stdout is not None:
            await self.store_output(run, "stdout", self.stdout)
        if self.stderr is not None:
            await self.store_output(run, "stderr", self.stderr)
