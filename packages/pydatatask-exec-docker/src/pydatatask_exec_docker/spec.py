"""What a container is made of, and the shell program that looks after a script in it.

The script is a child of that program, which needs nobody else: it gives the script its input, ends it when its time is
up or somebody wants it to end, first kindly, and says by its own exit status why. When it exits, the engine ends
whatever else is left in the container.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import frozen
from pydatatask_core.streams import BlobReader
from pydatatask_core.task.policy import spelled

__all__ = [
    "BEGUN",
    "CODE",
    "ENDED",
    "FOLDER",
    "INLINE",
    "MARK",
    "SCRIPT",
    "ContainerSpec",
    "Mount",
    "Pull",
    "configuration",
]

Pull = Literal["always", "missing", "never"]

FOLDER = "/pydatatask"
"""Where ours is in a container."""
SCRIPT = f"{FOLDER}/script"
CODE = f"{FOLDER}/code"
"""The status of the script, or of its end; not there if whoever looks after the script did not see its end."""
MARK = f"{FOLDER}/end"
"""A file that says why the container was ended, in a word: that of who ended it, else that of its own supervisor."""

INLINE = 96 * 1024
"""Bytes of a script that are passed as an argument; the kernel takes 128 KiB. A longer one becomes a file."""

TIMED_OUT = 124
ENDED = 143

SUPERVISE = f"""
timeout=$1 grace=$2 merge=$3
shift 3
stop= ending= job=
# End the job, once and for this reason. Traps do it themselves: a note that one leaves just before a wait for the job
# would be read when the job has ended.
end() {{
    stop=${{stop:-$1}}
    [ -z "$ending" ] && [ -n "$job" ] && kill -0 "$job" 2>/dev/null || return 0
    ending=$stop
    if [ "$stop" = {TIMED_OUT} ]; then echo timeout > {MARK}; elif [ ! -e {MARK} ]; then echo stopped > {MARK}; fi
    # All but this shell and the first process.
    kill -TERM -1
    {{ sleep "$grace"; kill -KILL "$job"; }} &
}}
trap 'end {ENDED}' TERM INT HUP
trap 'end {TIMED_OUT}' ALRM
# An engine starts again what has ended, if it is told to start it twice.
if [ -e {FOLDER}/stdout ]; then
    code=137
    [ ! -e {CODE} ] || read -r code < {CODE}
    exit "$code"
fi
[ -d {FOLDER} ] || mkdir {FOLDER} || exit 125
# Whoever finds the output finds the errors, too.
[ "$merge" = yes ] || : > {FOLDER}/stderr
exec 3> {FOLDER}/stdout 2>/dev/null
if [ "$merge" = yes ]; then exec 4>&3; else exec 4> {FOLDER}/stderr; fi
# Whoever sees to it that it does not begin leaves a mark first, and looks for the output then.
if [ -e {MARK} ]; then
    echo {ENDED} > {CODE}
    exit {ENDED}
fi
if [ -d {FOLDER}/stdin ]; then
    cat {FOLDER}/stdin/* | "$@" >&3 2>&4 3>&- 4>&- &
else
    "$@" < /dev/null >&3 2>&4 3>&- 4>&- &
fi
job=$!
exec 3>&- 4>&-
[ "$timeout" = - ] || {{ sleep "$timeout" && kill -ALRM $$; }} &
[ -z "$stop" ] || end "$stop"
while :; do
    wait "$job"
    code=$?
    kill -0 "$job" || break
done
# A signal may have ended the last wait, and then the job: its status is still to be had, once.
if [ "$code" -gt 128 ]; then
    wait "$job"
    again=$?
    [ "$again" = 127 ] || code=$again
fi
[ ! -e {FOLDER}/followed ] || sleep 1.5
code=${{ending:-$code}}
echo "$code" > {CODE}
exit "$code"
"""
"""Run a command. Arguments: its timeout or -, the seconds between TERM and KILL, whether its standard error goes with
its output, and its words. What it writes goes to files, since what engines keep as logs is not always what was written:
one kind loses bytes that are no text, another one the end of some lines, and all are slow."""

BEGUN = b"\0"
"""What a follower writes first. Where none could begin, an engine puts its own words instead of a program's output."""
FOLLOW = f"""
# What the container's own supervisor sends to all, when the run has to end and may still write.
trap '' TERM
until [ -e {FOLDER}/stdout ]; do sleep 0.1; done
[ -e {FOLDER}/$1 ] || exit
: > {FOLDER}/followed
printf '\\000'
exec tail -c +1 -f {FOLDER}/$1
"""
"""Follow a file to its end. Whoever ends the container waits for that."""


@frozen
class Mount:
    """A file or folder of the engine's machine that a container sees."""

    source: str
    target: str
    writable: bool = False


@frozen(kw_only=True)
class ContainerSpec:
    """What a run's container is made of."""

    image: str
    pull: Pull
    config: Mapping[str, Any]
    """The engine's own description of it, but for labels."""
    script: bytes | None = None
    """What is put at :data:`SCRIPT`."""
    stdin: Callable[[], Awaitable[BlobReader]] | None = None
    """Opens what the script reads."""
    mounts: Sequence[Mount] = ()
    outputs: Mapping[str, bool] | None = None
    """The names of what the script leaves in a private folder of this machine, and whether each is a folder."""

    user: str | None = None
    """Who runs the script; None leaves that to the image."""


def configuration(
    *,
    image: str,
    command: Sequence[str],
    timeout: float | None,
    grace: float,
    interleaved: bool,
    environ: Mapping[str, str],
    cpu: float,
    mem: int,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Give the engine's description of a container.

    :param cpu: cores; 0 sets no limit. :param mem: bytes; 0 sets no limit.
    :param more: fields of the description that are set if they are not None.
    """
    host: dict[str, Any] = {
        "Init": True,
        "NetworkMode": more.get("network"),
    }
    if cpu:
        host["NanoCpus"] = round(cpu * 1e9)
    if mem:
        # Without swap, what exceeds the limit is killed and not slowed down.
        host.update(Memory=mem, MemorySwap=mem)
    words = ["-" if timeout is None else spelled(timeout), spelled(grace), "yes" if interleaved else "no"]
    return {
        "Image": image,
        "Entrypoint": ["/bin/sh", "-c", SUPERVISE, "pydatatask", *words],
        "Cmd": list(command),
        "Env": [f"{name}={value}" for name, value in environ.items()],
        "StopSignal": "SIGTERM",
        "StopTimeout": math.ceil(grace) + 2,
        "HostConfig": {key: value for key, value in host.items() if value is not None},
        **{key: more[word] for key, word in (("User", "user"), ("WorkingDir", "workdir")) if more.get(word)},
    }
