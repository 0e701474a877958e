"""`./tools/test`: checks format, lint, types, import contracts, and runs every test."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .alone import alone
from .members import Member, members
from .steps import Step, perform
from .wheels import Wheels
from .workspace import contracts, integration, style, tools_tests, types, unit_tests


def parser(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./tools/test",
        description="Check format, lint, types and import contracts; test the wheel of each member alone, "
        "with nothing installed but what it declares; run the integration tests; install all wheels as a user would. "
        "Stops at the first fault.",
    )
    parser.add_argument("--uv", type=Path, required=True, help=argparse.SUPPRESS)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--fast", action="store_true", help="the inner loop: one environment, quick tests only")
    how.add_argument("--campaign", action="store_true", help="also run the tests marked 'campaign', which take long")
    parser.add_argument("--member", metavar="NAME", choices=names, help=f"only this member, one of {', '.join(names)}")
    return parser


def fast_steps(chosen: Sequence[Member]) -> list[Step]:
    """What the inner loop checks."""
    folders = [Path()] if len(chosen) > 1 else [chosen[0].folder]
    return [*style(folders), types(chosen), contracts(), unit_tests(chosen, "not campaign and not slow")]


def member_steps(uv: Path, member: Member, marks: str) -> list[Step]:
    """One member, as thoroughly as all of them are checked."""
    return [*style([member.folder]), types([member]), contracts(), alone(uv, member, marks)]


def all_steps(uv: Path, chosen: Sequence[Member], marks: str, folder: Path) -> list[Step]:
    """Everything."""
    return [
        *style([Path()]),
        types(chosen),
        contracts(),
        tools_tests(),
        *(alone(uv, member, marks) for member in chosen),
        *integration(marks),
        *Wheels(uv, chosen, folder, marks).steps(),
    ]


def main() -> int:
    every = members()
    options = parser([member.name for member in every]).parse_args()
    chosen = [member for member in every if options.member in (None, member.name)]
    marks = "" if options.campaign else "not campaign"
    # A terminal's width or colours must not change what a test sees.
    os.environ.pop("FORCE_COLOR", None)
    if options.fast:
        return perform(fast_steps(chosen))
    if options.member:
        return perform(member_steps(options.uv, chosen[0], marks))
    with tempfile.TemporaryDirectory(prefix="pydatatask-test-") as folder:
        return perform(all_steps(options.uv, chosen, marks, Path(folder)))


sys.exit(main())
