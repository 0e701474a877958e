"""Key expressions as truth over bits: what a job's state means for each task.

A job's knowledge is an integer: one bit per store that holds it, and two bits (known, yes) for each thing that was
found out about it. :class:`Compiled` turns such a mask into a :class:`State`, once, and hands out the same state for
the same mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, field

from ..repository.expression import And, Filtered, KeyExpression, Leaf, Minus, Or, Related, Translation

__all__ = ["Ask", "Compiled", "LeafBits", "Relation", "State", "Translated", "compile_rules"]

Truth = bool | None
"""True, false, or None: unknown."""


class Translated:
    """What jobs translate to, both ways."""

    def __init__(self) -> None:
        self.targets: dict[str, str] = {}
        self.sources: dict[str, set[str]] = {}

    def put(self, job: str, target: str | None) -> None:
        """Note what a job translates to; None forgets it."""
        old = self.targets.pop(job, None)
        if old is not None:
            self.sources[old].discard(job)
            if not self.sources[old]:
                del self.sources[old]
        if target is not None:
            self.targets[job] = target
            self.sources.setdefault(target, set()).add(job)


@define(eq=False)
class Ask:
    """One thing that can be found out about a job, and the bits that hold the answer."""

    subject: Filtered | Translation
    known: int
    yes: int
    translated: Translated = field(factory=Translated)


@define(eq=False)
class Relation:
    """A :class:`Related` expression: a job's value is that of ``base`` at the job it translates to."""

    base: KeyExpression
    ask: Ask
    known: int
    yes: int
    stale: int = 0
    """Answers about the source that depend on the target."""
    asks: list[Ask] = field(factory=list)

    @property
    def translated(self) -> Translated:
        """The translations so far."""
        return self.ask.translated

    def with_value(self, mask: int, value: Truth) -> int:
        """Put a value into a job's mask."""
        mask &= ~(self.known | self.yes)
        if value is None:
            return mask
        return mask | self.known | self.yes if value else mask | self.known


@define(eq=False)
class LeafBits:
    """A store's bit, and what must be asked again when its keys change."""

    leaf: Leaf
    bit: int
    listed: bool = False
    stale: int = 0
    asks: list[Ask] = field(factory=list)
    relations: list[Relation] = field(factory=list)


@define(eq=False)
class State:
    """What a mask means: which tasks may start, and which answers could still matter."""

    mask: int
    ready: tuple[int, ...]
    asks: tuple[Ask, ...]
    bases: tuple[Truth, ...]
    base_asks: tuple[tuple[Ask, ...], ...]
    added: dict[int, State] = field(factory=dict)
    """The state after a key event of a store, as far as it was worked out before."""


class Compiled:
    """The ready expressions of tasks, over bits."""

    def __init__(self, rules: Sequence[KeyExpression]) -> None:
        self.rules = rules
        self.leaves: list[LeafBits] = []
        self.relations: list[Relation] = []
        self.asks: list[Ask] = []
        self._by_expression: dict[KeyExpression | Translation, LeafBits | Relation | Ask] = {}
        self._states: dict[int, State] = {}
        self._bits = 0
        for rule in rules:
            self._add(rule)

    def leaf_number(self, location: str) -> int | None:
        """Give the number of the store at a location, if any rule stands on it."""
        return next((i for i, bits in enumerate(self.leaves) if bits.leaf.location == location), None)

    def filter_ask(self, expression: Filtered) -> Ask | None:
        """Give what is asked for a filter, if any rule uses it."""
        ask = self._by_expression.get(expression)
        return ask if isinstance(ask, Ask) else None

    def state(self, mask: int) -> State:
        """Give the one state of a mask."""
        state = self._states.get(mask)
        if state is None:
            state = self._states[mask] = self._work_out(mask)
        return state

    def after_adding(self, state: State, leaf: int) -> State:
        """Give the state after a store published a value: it holds the key, and earlier answers are outdated."""
        bits = self.leaves[leaf]
        after = state.added[leaf] = self.state((state.mask & ~bits.stale) | bits.bit)
        return after

    def set_listed(self, leaf: int, listed: bool) -> None:
        """Note that a store's absent keys are now known to be absent. All states change their meaning."""
        self.leaves[leaf].listed = listed
        self._states.clear()

    def truth(self, expression: KeyExpression, mask: int) -> Truth:
        """Evaluate an expression for a job's mask."""
        match expression:
            case And(children):
                return _conjunction([self.truth(child, mask) for child in children]) if children else False
            case Or(children):
                return _negation(_conjunction([_negation(self.truth(child, mask)) for child in children]))
            case Minus(source, unless):
                return _conjunction([self.truth(source, mask), _negation(self.truth(unless, mask))])
            case Leaf():
                bits = self._leaf(expression)
                return True if mask & bits.bit else (False if bits.listed else None)
            case Filtered(base, _):
                ask = self._ask(expression)
                return _conjunction([self.truth(base, mask), _found(mask, ask.known, ask.yes)])
            case Related(_, translation):
                node = self._relation(expression)
                found = _found(mask, node.known, node.yes) if mask & node.ask.known else None
                return _conjunction([self.truth(translation.keys, mask), found])

    def _work_out(self, mask: int) -> State:
        ready: list[int] = []
        asks: dict[Ask, None] = {}
        for number, rule in enumerate(self.rules):
            truth = self.truth(rule, mask)
            if truth:
                ready.append(number)
            elif truth is None:
                asks.update(dict.fromkeys(self._unknowns(rule, mask)))
        bases = tuple(self.truth(node.base, mask) for node in self.relations)
        base_asks = tuple(
            tuple(self._unknowns(node.base, mask)) if base is None else ()
            for node, base in zip(self.relations, bases, strict=True)
        )
        return State(mask, tuple(ready), tuple(asks), bases, base_asks)

    def _unknowns(self, expression: KeyExpression, mask: int) -> Iterator[Ask]:
        """Give what to ask so that an unknown expression becomes known."""
        if self.truth(expression, mask) is not None:
            return
        match expression:
            case And(children) | Or(children):
                for child in children:
                    yield from self._unknowns(child, mask)
            case Minus(source, unless):
                yield from self._unknowns(source, mask)
                yield from self._unknowns(unless, mask)
            case Leaf():
                return
            case Filtered(base, _):
                yield from self._unknowns(base, mask)
                if self.truth(base, mask):
                    yield self._ask(expression)
            case Related(_, translation):
                yield from self._unknowns(translation.keys, mask)
                ask = self._relation(expression).ask
                if self.truth(translation.keys, mask) and not mask & ask.known:
                    yield ask

    def _add(self, expression: KeyExpression) -> None:
        if expression in self._by_expression:
            return
        match expression:
            case And(children) | Or(children):
                for child in children:
                    self._add(child)
            case Minus(source, unless):
                self._add(source)
                self._add(unless)
            case Leaf():
                self.leaves.append(LeafBits(expression, self._new_bit()))
                self._by_expression[expression] = self.leaves[-1]
            case Filtered(base, _):
                self._add(base)
                ask = Ask(expression, self._new_bit(), self._new_bit())
                self._by_expression[expression] = ask
                self.asks.append(ask)
                self._make_stale(base, ask, ask.known | ask.yes)
            case Related(base, translation):
                self._add(base)
                self._add_relation(expression, base, translation)

    def _add_relation(self, expression: Related, base: KeyExpression, translation: Translation) -> None:
        self._add(translation.keys)
        ask = self._by_expression.get(translation)
        if not isinstance(ask, Ask):
            ask = Ask(translation, self._new_bit(), 0)
            self._by_expression[translation] = ask
            self.asks.append(ask)
            self._make_stale(translation.keys, ask, ask.known)
        node = Relation(base, ask, self._new_bit(), self._new_bit())
        self._by_expression[expression] = node
        self.relations.append(node)
        for leaf in self._stands_on(base):
            if isinstance(leaf, LeafBits):
                leaf.relations.append(node)

    def _make_stale(self, base: KeyExpression, ask: Ask, bits: int) -> None:
        for node in self._stands_on(base):
            node.stale |= bits
            node.asks.append(ask)

    def _stands_on(self, expression: KeyExpression) -> Iterator[LeafBits | Relation]:
        """Give the stores and relations whose value at the same job this expression depends on."""
        match expression:
            case And(children) | Or(children):
                for child in children:
                    yield from self._stands_on(child)
            case Minus(source, unless):
                yield from self._stands_on(source)
                yield from self._stands_on(unless)
            case Leaf():
                yield self._leaf(expression)
            case Filtered(base, _):
                yield from self._stands_on(base)
            case Related(_, translation):
                yield self._relation(expression)
                yield from self._stands_on(translation.keys)

    def _new_bit(self) -> int:
        self._bits += 1
        return 1 << (self._bits - 1)

    def _leaf(self, expression: Leaf) -> LeafBits:
        bits = self._by_expression[expression]
        assert isinstance(bits, LeafBits)
        return bits

    def _ask(self, expression: Filtered) -> Ask:
        ask = self._by_expression[expression]
        assert isinstance(ask, Ask)
        return ask

    def _relation(self, expression: Related) -> Relation:
        node = self._by_expression[expression]
        assert isinstance(node, Relation)
        return node


def compile_rules(rules: Sequence[KeyExpression]) -> Compiled:
    """Prepare expressions for evaluation."""
    return Compiled(rules)


def _conjunction(values: Sequence[Truth]) -> Truth:
    if False in values:
        return False
    return None if None in values else True


def _negation(value: Truth) -> Truth:
    return None if value is None else not value


def _found(mask: int, known: int, yes: int) -> Truth:
    return bool(mask & yes) if mask & known else None
