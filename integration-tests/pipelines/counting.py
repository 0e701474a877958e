"""Scripts on this machine that count until a file tells them to end, two at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pydatatask

HERE = Path.cwd()

session = pydatatask.Session()


@session.resource
async def machine() -> AsyncIterator[pydatatask.LocalLinuxManager]:
    yield pydatatask.LocalLinuxManager("counting", HERE / "base")


SCRIPT = """\
n=0
while [ ! -e {{ here }}/go-{{ job }} ]; do n=$((n+1)); echo "{{ job }} $n"; echo "to stderr" >&2; sleep 0.1; done
case {{ job }} in bad*) exit 3;; esac
"""

count = pydatatask.ProcessTask(
    "count",
    machine,
    pydatatask.ResourceManager(pydatatask.Resources.parse(2, "1Gi")),
    pydatatask.Resources.parse(1, "1Mi"),
    pydatatask.YamlMetadataFileRepository("pids"),
    SCRIPT.replace("{{ here }}", str(HERE)),
    done=pydatatask.YamlMetadataFileRepository("done"),
    stdout=pydatatask.FileRepository("out"),
    stderr=pydatatask.FileRepository("err"),
)
count.link("inputs", pydatatask.FileRepository("inputs"), is_input=True)

pipeline = pydatatask.Pipeline([count], session)

if __name__ == "__main__":
    pydatatask.main(pipeline)
