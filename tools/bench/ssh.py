"""A machine with an SSH server in a container, as the tests of the member have it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "packages" / "pydatatask-exec-ssh" / "tests"))

from ssh_server import (  # type: ignore[import-not-found]  # it is in the folder named above
    SSHServer,
    ssh_server,
)

__all__ = ["SSHServer", "ssh_server"]
