"""Key expressions as truth over bits: what a job's state means for each task.

A job's knowledge is an integer: one bit per store that holds it, and two bits (known, yes) for each thing that was
found out about it. :class:`Compiled` turns such a mask into a :class:`State`, once, and hands out the same state for
the same mask. What a mask means for one expression depends on few of its bits, and is worked out once per value of
those, so a state that is met for the first time costs a look-up per task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field, frozen

from ..repository.expression import And, Filtered, KeyExpression, Leaf, Minus, Or, Related, Translation

__all__ = ["Ask", "Compiled", "LeafBits", "Need", "Relation", "State", "Translated", "Truth", "Verdict"]

Truth = bool | None
"""True, false, or None: unknown."""

MOST_STATES = 1 << 14
"""States and verdicts that are kept for their masks to be met again."""


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
    keys: Rule
    """The jobs that it is asked of."""
    known: int
    yes: int
    leaf: LeafBits | None = None
    """The store, if it is asked of all that a store holds."""
    translated: Translated = field(factory=Translated)

    def bits(self, accepted: bool) -> int:
        """Give the bits that hold an answer."""
        return self.known | self.yes if accepted else self.known


@define(eq=False)
class Foundation:
    """What filters and translations stand on: when it changes, their answers are outdated."""

    stale: int = field(default=0, init=False)
    """The bits of the answers about the same job."""
    asks: list[Ask] = field(factory=list, init=False)
    """What those answers answer."""
    relations: list[Relation] = field(factory=list, init=False)
    """Relations to this: what stands on them, at the jobs that translate to the changed one, is outdated as well."""


@define(eq=False)
class LeafBits(Foundation):
    """A store, and the bit that says whether it holds a job."""

    leaf: Leaf
    bit: int
    listed: bool = False
    after_adding: dict[State, State] = field(factory=dict)
    """The state that follows each state when a job is added, as far as it was worked out before."""
    expected: dict[str, int] = field(factory=dict)
    """The bits of what is known already about the value that a job is about to get."""


@define(eq=False)
class Relation(Foundation):
    """A :class:`Related` expression: a job's value is that of ``base`` at the job it translates to."""

    number: int
    base: Rule
    ask: Ask
    known: int
    yes: int

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


Need = Ask | Relation
"""What to find out about a job: an answer, or the value of a relation's base at the job it translates to."""


@frozen
class Verdict:
    """What is known of an expression for a job, and what would tell more."""

    truth: Truth
    needs: tuple[Need, ...] = ()


@define(eq=False)
class Rule:
    """An expression, and its verdicts so far by the bits that it depends on."""

    expression: KeyExpression
    bits: int
    wants: tuple[bool, ...]
    """Which truths are worth asking for."""
    verdicts: dict[int, Verdict] = field(factory=dict)


@define(eq=False)
class State:
    """What a mask means."""

    mask: int
    ready: int
    """One bit per task: whether it may start."""
    needs: tuple[Need, ...]
    """What could still let a task start."""
    bases: tuple[Verdict, ...]
    """For the jobs that translate to this one: each relation's base."""


class Compiled:
    """The ready expressions of tasks, over bits."""

    def __init__(self, rules: Sequence[KeyExpression]) -> None:
        self.leaves: list[LeafBits] = []
        self.relations: list[Relation] = []
        self._by_expression: dict[KeyExpression | Translation, LeafBits | Relation | Ask] = {}
        self._bits = 0
        self._states: dict[int, State] = {}
        self._worked_out: list[Rule] = []
        self._rules = [self._rule(rule, (True,)) for rule in rules]

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
            if len(self._states) >= MOST_STATES:
                self._forget()
            state = self._states[mask] = self._work_out(mask)
        return state

    def after_adding(self, state: State, leaf: int) -> State:
        """Give the state after a store published a value: it holds the key, and earlier answers are outdated."""
        bits = self.leaves[leaf]
        after = bits.after_adding.get(state)
        if after is None:
            after = self.state((state.mask & ~bits.stale) | bits.bit)
            if len(bits.after_adding) >= MOST_STATES:
                bits.after_adding.clear()
            bits.after_adding[state] = after
        return after

    def set_listed(self, leaf: int) -> None:
        """Note that a store's absent keys are now known to be absent. All states change their meaning."""
        self.leaves[leaf].listed = True
        self._forget()

    def truth(self, expression: KeyExpression, mask: int) -> Truth:
        """Evaluate an expression for a job's mask."""
        match expression:
            case And(children):
                return _every([self.truth(child, mask) for child in children]) if children else False
            case Or(children):
                return _negation(_every([_negation(self.truth(child, mask)) for child in children]))
            case Minus(source, unless):
                return _every([self.truth(source, mask), _negation(self.truth(unless, mask))])
            case Leaf():
                bits = self._leaf(expression)
                return True if mask & bits.bit else (False if bits.listed else None)
            case Filtered(base, _):
                ask = self._ask(expression)
                return _every([self.truth(base, mask), _found(mask, ask.known, ask.yes)])
            case Related(_, translation):
                node = self._relation(expression)
                found = _found(mask, node.known, node.yes) if mask & node.ask.known else None
                return _every([self.truth(translation.keys, mask), found])

    def _forget(self) -> None:
        """Forget all that was worked out. Jobs stay in their states; equal states may then be different objects."""
        self._states.clear()
        for bits in self.leaves:
            bits.after_adding.clear()
        for rule in self._worked_out:
            rule.verdicts.clear()

    def _work_out(self, mask: int) -> State:
        ready = 0
        needs: dict[Need, None] = {}
        for number, rule in enumerate(self._rules):
            verdict = self.verdict(rule, mask)
            if verdict.truth:
                ready |= 1 << number
            needs.update(dict.fromkeys(verdict.needs))
        return State(mask, ready, tuple(needs), tuple(self.verdict(node.base, mask) for node in self.relations))

    def verdict(self, rule: Rule, mask: int) -> Verdict:
        """Give what a job's mask means for an expression."""
        mask &= rule.bits
        verdict = rule.verdicts.get(mask)
        if verdict is None:
            truth = self.truth(rule.expression, mask)
            needs: dict[Need, None] = {}
            if truth is None:
                for want in rule.wants:
                    needs.update(dict.fromkeys(self._needs(rule.expression, mask, want)))
            verdict = rule.verdicts[mask] = Verdict(truth, tuple(needs))
        return verdict

    def _needs(self, expression: KeyExpression, mask: int, want: bool) -> list[Need]:
        """Give what may make an unknown expression ``want``: nothing, as long as only a listing could."""
        match expression:
            case And(children):
                return self._needs_of(((child, want) for child in children), mask, every=want)
            case Or(children):
                return self._needs_of(((child, want) for child in children), mask, every=not want)
            case Minus(source, unless):
                return self._needs_of(((source, want), (unless, not want)), mask, every=want)
            case Leaf():
                return []
            case Filtered(base, _):
                return self._needs_on(base, self._ask(expression), mask, want)
            case Related(_, translation):
                node = self._relation(expression)
                return self._needs_on(translation.keys, node if mask & node.ask.known else node.ask, mask, want)

    def _needs_of(self, parts: Iterable[tuple[KeyExpression, bool]], mask: int, every: bool) -> list[Need]:
        needs = [self._needs(part, mask, want) for part, want in parts if self.truth(part, mask) is None]
        if every and not all(needs):
            return []
        return [need for part in needs for need in part]

    def _needs_on(self, base: KeyExpression, need: Need, mask: int, want: bool) -> list[Need]:
        """Something is found out about a key of ``base`` only when it is sure to be one."""
        if self.truth(base, mask):
            return [need]
        needs = self._needs(base, mask, True)
        return needs if want else needs + self._needs(base, mask, False)

    def _rule(self, expression: KeyExpression, wants: tuple[bool, ...]) -> Rule:
        rule = Rule(expression, self._add(expression), wants)
        self._worked_out.append(rule)
        return rule

    def _add(self, expression: KeyExpression) -> int:
        """Prepare an expression for evaluation, and give the bits that it depends on."""
        match expression:
            case And(children) | Or(children):
                return self._add_all(*children)
            case Minus(source, unless):
                return self._add_all(source, unless)
            case Leaf():
                if expression not in self._by_expression:
                    self.leaves.append(LeafBits(expression, self._new_bit()))
                    self._by_expression[expression] = self.leaves[-1]
                return self._leaf(expression).bit
            case Filtered(base, _):
                bits = self._add(base)
                if expression not in self._by_expression:
                    self._add_ask(expression, base, self._new_bit())
                ask = self._ask(expression)
                return bits | ask.known | ask.yes
            case Related(_, translation):
                bits = self._add(translation.keys)
                if expression not in self._by_expression:
                    self._add_relation(expression)
                node = self._relation(expression)
                return bits | node.ask.known | node.known | node.yes

    def _add_all(self, *expressions: KeyExpression) -> int:
        bits = 0
        for expression in expressions:
            bits |= self._add(expression)
        return bits

    def _add_ask(self, subject: Filtered | Translation, keys: KeyExpression, yes: int) -> None:
        leaf = self._leaf(keys) if isinstance(keys, Leaf) else None
        self._by_expression[subject] = ask = Ask(subject, self._rule(keys, ()), self._new_bit(), yes, leaf)
        for foundation in dict.fromkeys(self._stands_on(keys)):
            foundation.stale |= ask.known | ask.yes
            foundation.asks.append(ask)

    def _add_relation(self, expression: Related) -> None:
        base, translation = expression.base, expression.translation
        if translation not in self._by_expression:
            self._add_ask(translation, translation.keys, 0)
        ask = self._by_expression[translation]
        assert isinstance(ask, Ask)
        rule = self._rule(base, (True, False))
        node = Relation(len(self.relations), rule, ask, self._new_bit(), self._new_bit())
        self._by_expression[expression] = node
        self.relations.append(node)
        for foundation in dict.fromkeys(self._stands_on(base)):
            foundation.relations.append(node)
        for foundation in dict.fromkeys(self._stands_on(translation.keys)):
            foundation.stale |= node.known | node.yes

    def _stands_on(self, expression: KeyExpression) -> Iterator[Foundation]:
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


def _every(values: Sequence[Truth]) -> Truth:
    if False in values:
        return False
    return None if None in values else True


def _negation(value: Truth) -> Truth:
    return None if value is None else not value


def _found(mask: int, known: int, yes: int) -> Truth:
    return bool(mask & yes) if mask & known else None
