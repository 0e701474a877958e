"""Which file systems are watched, and which must be polled."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydatatask_core.repository.changes import ChangeSource
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository
from pydatatask_repos_filesystem.mounts import is_local, kind_of_mount

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
30 22 0:40 / /data rw,relatime shared:5 master:1 - nfs4 server:/export rw,vers=4.2
31 30 0:41 / /data/scratch rw - tmpfs tmpfs rw
32 22 0:42 / /mnt/my\\040disk rw - fuse.sshfs me@host:/ rw
33 22 0:43 / /over rw - xfs /dev/vdb rw
34 22 0:44 / /over rw - fuse.mergerfs pool rw
35 22 0:45 /sub /home rw - btrfs /dev/vdc rw,subvol=/sub
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/files", "ext4"),
        ("/data", "nfs4"),
        ("/data/files", "nfs4"),
        ("/database", "ext4"),
        ("/data/scratch/files", "tmpfs"),
        ("/mnt/my disk/files", "fuse.sshfs"),
        ("/over/files", "fuse.mergerfs"),
        ("/home/me", "btrfs"),
    ],
)
def test_the_kind_is_that_of_the_innermost_and_latest_mount(path: str, kind: str) -> None:
    assert kind_of_mount(path, MOUNTINFO) == kind


def test_nothing_is_known_without_a_list_of_mounts() -> None:
    assert kind_of_mount("/srv", "") == ""


def test_what_is_not_known_to_be_local_is_not() -> None:
    assert not is_local("/proc/self")
    assert not is_local("/sys/fs")


async def test_a_folder_on_an_unknown_file_system_is_polled(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self")
    for path in (Path("/proc/self"), tmp_path / "link"):
        assert FileRepository(path).change_source is ChangeSource.POLLED
        assert DirectoryRepository(path).change_source is ChangeSource.POLLED


async def test_a_polled_folder_still_tells_of_changes_in_this_process(tmp_path: Path) -> None:
    repo = FileRepository(tmp_path)
    repo._folder.__dict__["_is_local"] = False
    assert repo.change_source is ChangeSource.POLLED
    async with repo.watch() as events:
        async with await repo.open("job", "wb"):
            pass
        assert "job" in str(await anext(events))
