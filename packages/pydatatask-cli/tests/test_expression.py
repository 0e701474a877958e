"""The set expressions of ``ls``: how they are read, and that they mean what they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, reject, strategies as st
from pydatatask_cli.expression import (
    Both,
    Either,
    Expression,
    ExpressionError,
    Named,
    Pattern,
    Without,
    holds,
    names_in,
    parse,
    sources,
)

A, B, C = Named("a.in"), Named("b.in"), Named("c-2.in_3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.in", A),
        ("  a.in  ", A),
        ("a.in & b.in", Both(A, B)),
        ("a.in&b.in|c-2.in_3", Either(Both(A, B), C)),
        ("a.in | b.in & c-2.in_3", Either(A, Both(B, C))),
        ("a.in - b.in - c-2.in_3", Without(Without(A, B), C)),
        ("a.in - b.in & c-2.in_3", Both(Without(A, B), C)),
        ("a.in & b.in - c-2.in_3", Without(Both(A, B), C)),
        ("a.in - (b.in - c-2.in_3)", Without(A, Without(B, C))),
        ("((a.in))", A),
        ("a.in & book-*", Both(A, Pattern("book-*"))),
        ("a.in & [a-c]?.x", Both(A, Pattern("[a-c]?.x"))),
        ("a.in & [!ab]*", Both(A, Pattern("[!ab]*"))),
        ("a.in - 'b.in'", Without(A, Pattern("b.in"))),
        ('a.in - "moby"', Without(A, Pattern("moby"))),
        ("(x* | y*) & a.in", Both(Either(Pattern("x*"), Pattern("y*")), A)),
    ],
)
def test_an_expression_is_read(text: str, expected: Expression) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("", 0, "missing"),
        ("   ", 0, "missing"),
        ("a.in &", 6, "missing"),
        ("& a.in", 0, "missing before this '&'"),
        ("a.in b.in", 5, "'&', '|' or '-' is missing"),
        ("(a.in", 0, "never closed"),
        ("a.in)", 4, "never opened"),
        ("a.in & ()", 8, "missing before this ')'"),
        ("a.in -b.in", 5, "only between spaces"),
        ("a.in- b.in", 0, "only between spaces"),
        ("a.in & moby", 7, "quotes around a job id: 'moby'"),
        ("a.in & 'moby", 7, "quotation mark is never closed"),
        ("book-*", 0, "not of which repository"),
        ("a.in | book-*", 7, "not of which repository"),
        ("x* - a.in", 0, "not of which repository"),
        ("a.in; import os", 4, "';' means nothing here"),
        ("__import__('os')", 0, "neither a repository"),
        ("a.in & {}", 7, "'{' means nothing here"),
    ],
)
def test_a_mistake_is_pointed_at(text: str, column: int, problem: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(problem)) as caught:
        parse(text)
    assert caught.value.column == column
    assert str(caught.value).endswith(f"\n  {text}\n  {' ' * column}^")


JOBS = ["a", "ab", "abc", "b", "b-1", "b.1", "c", "x.y-z"]
NAMES = ["a.in", "b-2.out", "c.done"]
GLOBS = ["a*", "?", "*-*", "[!a]*", "b?1"]

repositories = st.fixed_dictionaries({name: st.sets(st.sampled_from(JOBS)) for name in NAMES})

Made = tuple[str, Callable[[str, dict[str, set[str]]], bool]]
"""An expression, and the function that says which jobs are in it, made side by side."""

leaf: st.SearchStrategy[Made] = st.one_of(
    st.sampled_from(NAMES).map(lambda name: (name, lambda job, held: job in held[name])),
    st.sampled_from(GLOBS).map(lambda glob: (glob, lambda job, held: fnmatchcase(job, glob))),
    st.sampled_from(JOBS).map(lambda text: (f"'{text}'", lambda wanted, held: wanted == text)),
)


def _joined(form: str, join: Callable[[bool, bool], bool]) -> Callable[[tuple[Made, Made]], Made]:
    def make(pair: tuple[Made, Made]) -> Made:
        (left, is_left), (right, is_right) = pair
        return form.format(left, right), lambda job, held: join(is_left(job, held), is_right(job, held))

    return make


def _combined(children: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    pairs = st.tuples(children, children)
    return st.one_of(
        pairs.map(_joined("({} & {})", lambda left, right: left and right)),
        pairs.map(_joined("({}|{})", lambda left, right: left or right)),
        pairs.map(_joined("( {} - {} )", lambda left, right: left and not right)),
    )


made_expressions = st.recursive(leaf, _combined, max_leaves=8)


@given(made_expressions, st.sampled_from(NAMES), repositories)
def test_an_expression_means_what_an_independent_evaluator_says(
    made: Made, name: str, held: dict[str, set[str]]
) -> None:
    text, means = made
    expression = parse(f"{name} & {text}")
    for job in JOBS:
        assert holds(expression, job, held) == (job in held[name] and means(job, held))


@given(made_expressions, repositories)
def test_the_sources_of_an_expression_include_all_its_jobs(made: Made, held: dict[str, set[str]]) -> None:
    try:
        expression = parse(made[0])
    except ExpressionError:
        # Patterns alone are drawn as well.
        reject()
    listed = set[str]().union(*(held[name] for name in sources(expression)))
    assert {job for job in JOBS if holds(expression, job, held)} <= listed


flat = st.lists(st.sampled_from(["&", "|", "-"]), min_size=1, max_size=6)


@given(flat, st.data(), repositories)
def test_operators_bind_as_in_python_where_there_are_no_parentheses(
    operators: list[str], data: st.DataObject, held: dict[str, set[str]]
) -> None:
    names = [data.draw(st.sampled_from(NAMES)) for _ in range(len(operators) + 1)]
    text = names[0] + "".join(f" {operator} {name}" for operator, name in zip(operators, names[1:], strict=True))
    expression = parse(text)
    code = re.sub(r"[abc][^ ]*", lambda found: f"held[{found[0]!r}]", text)
    expected = eval(code, {"held": held})  # the oracle, over names that were drawn here
    assert {job for job in JOBS if holds(expression, job, held)} == expected


@given(st.text(alphabet="ab.in&|-()*?[]'\" ", max_size=20))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    try:
        expression = parse(text)
    except ExpressionError as error:
        told = error
    else:
        assert list(names_in(expression))
        return
    assert 0 <= told.column <= len(text)
