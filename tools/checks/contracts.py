"""An import contract that names what a member may import, since what it may not has no end.

Import-linter's own ``forbidden`` contract needs a list of every library that might be imported by mistake.
"""

from __future__ import annotations

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from typing_extensions import override

__all__ = ["OnlyContract"]


class OnlyContract(Contract):
    """The modules of ``package`` import nothing but each other, the standard library and ``allowed``.

    ``allowed`` and ``elsewhere`` name modules with all that is in them; those of ``elsewhere`` belong to the package
    and have a contract of their own.
    """

    type_name = "only"

    package = fields.StringField()
    allowed = fields.ListField(subfield=fields.StringField())
    elsewhere = fields.ListField(subfield=fields.StringField(), default=[])

    @override
    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look at each direct import of each module of the package."""
        package, allowed, elsewhere = str(self.package), _names(self.allowed), _names(self.elsewhere)
        if package not in graph.modules:
            raise ValueError(f"The contract {self.name!r} is about {package}, which does not exist.")
        broken = [
            (importer, imported, graph.get_import_details(importer=importer, imported=imported))
            for importer in sorted({package, *graph.find_descendants(package)})
            if not _within(importer, elsewhere)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if not _within(imported, [package, *allowed]) and imported.split(".")[0] not in sys.stdlib_module_names
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    @override
    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import that is not allowed."""
        output.print_error(
            f"{self.package} may import only: {', '.join(_names(self.allowed)) or 'nothing'}.", bold=False
        )
        for importer, imported, details in check.metadata["broken"]:
            lines = ", ".join(f"l.{detail['line_number']}" for detail in details)
            output.print(f"- {importer} imports {imported} ({lines})")


def _names(field: object) -> list[str]:
    # A field is declared on the class as its parser and holds on the instance what was parsed.
    assert isinstance(field, list)
    return [str(name) for name in field]


def _within(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
