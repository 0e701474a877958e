"""The pipeline as a graph: text, DOT, Mermaid or data. Nothing is asked of any store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydatatask_core.pipeline.graph import Edge, Graph
from pydatatask_core.repository.expression import leaves

from .names import NamedLink, links_in_order, role_of

__all__ = ["as_data", "as_dot", "as_mermaid", "as_text"]


def as_text(graph: Graph) -> Iterator[str]:
    """Give each task, upstream ones first, with what goes into it and what comes out."""
    for name in graph.topological():
        task = graph.tasks[name]
        links = links_in_order(task, True)
        wide = max((len(_own_name(link)) for link in links), default=0)
        yield f"{name} ({type(task).__name__}{', disabled' if task.disabled else ''})"
        for link in links:
            arrow = "->" if link.link.is_output or link.link.is_status else "<-"
            yield f"  {arrow} {_own_name(link):{wide}}  {', '.join(_about(graph, link))}"
        yield ""


def as_dot(graph: Graph) -> Iterator[str]:
    """Give the graph for Graphviz."""
    repos = {place: f"r{number}" for number, place in enumerate(graph.repositories)}
    tasks = {name: f"t{number}" for number, name in enumerate(graph.topological())}
    yield "digraph pipeline {"
    yield "  rankdir=LR;"
    yield "  node [fontname=Helvetica];"
    for name, key in tasks.items():
        yield f'  {key} [shape=box, style=bold, label="{name}"];'
    for place, node in graph.repositories.items():
        yield f'  {repos[place]} [shape=cylinder, label="{_title(node.names)}"];'
    for edge in graph.edges:
        style = ' [style=dashed, arrowhead=tee, label="inhibits"]' if _only_inhibits(edge) else ""
        yield f"  {' -> '.join(_ends(edge, repos, tasks))}{' [style=dashed]' if edge.link.is_status else style};"
    yield "}"


def as_mermaid(graph: Graph) -> Iterator[str]:
    """Give the graph as a Mermaid flowchart."""
    repos = {place: f"r{number}" for number, place in enumerate(graph.repositories)}
    tasks = {name: f"t{number}" for number, name in enumerate(graph.topological())}
    yield "flowchart LR"
    for name, key in tasks.items():
        yield f'  {key}["{name}"]'
    for place, node in graph.repositories.items():
        yield f'  {repos[place]}[("{_title(node.names)}")]'
    for edge in graph.edges:
        line = "-. inhibits .-x" if _only_inhibits(edge) else "-.->" if edge.link.is_status else "-->"
        yield f"  {f' {line} '.join(_ends(edge, repos, tasks))}"


def as_data(graph: Graph) -> dict[str, Any]:
    """Give the graph for a JSON document."""
    return {
        "tasks": [
            {"name": name, "type": type(graph.tasks[name]).__name__, "disabled": graph.tasks[name].disabled}
            for name in graph.topological()
        ],
        "repositories": [
            {"location": place, "type": type(node.repo).__name__, "names": list(node.names)}
            for place, node in graph.repositories.items()
        ],
        "links": [
            {
                "name": f"{edge.task}.{edge.link_name}",
                "task": edge.task,
                "location": edge.location,
                "role": role_of(edge.link),
                "required_for_start": edge.link.required_for_start,
                "inhibits_start": edge.link.inhibits_start,
                "requires_success": edge.link.accepts is not None,
            }
            for edge in graph.edges
        ],
    }


def _own_name(link: NamedLink) -> str:
    return link.name.partition(".")[2]


def _about(graph: Graph, link: NamedLink) -> Iterator[str]:
    if link.role != "other":
        yield link.role
    if link.link.required_for_start and not link.link.is_input:
        yield "required"
    if link.link.inhibits_start:
        yield "inhibits the start"
    places = {link.repo.location, *(leaf.location for leaf in leaves(link.repo.expression))}
    if link.link.is_output or link.link.is_status:
        readers = {name for place in places for name in graph.tasks_reading(place)} - {link.task.name}
        if readers:
            yield f"to {_list(readers)}"
        return
    fillers = {edge.task for edge in graph.edges if edge.out_of_task and edge.location in places} - {link.task.name}
    if fillers:
        yield f"success of {_list(fillers)}" if link.link.accepts else f"from {_list(fillers)}"


def _list(names: set[str]) -> str:
    return " and ".join(sorted(names))


def _title(names: Sequence[str]) -> str:
    """One repository may go by many names; the first says enough."""
    return names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"


def _only_inhibits(edge: Edge) -> bool:
    return edge.link.inhibits_start and not (edge.out_of_task or edge.link.is_input or edge.link.required_for_start)


def _ends(edge: Edge, repos: dict[str, str], tasks: dict[str, str]) -> list[str]:
    """Give where an edge comes from and where it goes to."""
    ends = [repos[edge.location], tasks[edge.task]]
    return ends[::-1] if edge.out_of_task else ends
