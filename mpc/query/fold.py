"""Turns outputs over aggregates into revealed words: what is revealed, and what the recipient computes from it.

The rule at the heart of the product: a linear combination of totals becomes ONE word per cell, so that only the
combination is seen and never its parts. SQL makes such a sum NULL where a part is NULL; a second word counts those.
What is not linear (a quotient, a comparison) needs its parts revealed, each as a measure of its own; a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from mpc.query import build
from mpc.query.aggregates import total_bounds
from mpc.query.build import FALSE, NULL, ZERO
from mpc.query.linear import Form, atom_of, flatten, form, is_missing, missing, present
from mpc.query.nodes import (
    Agg,
    Divide,
    Expr,
    IsNull,
    Ranked,
    Term,
    WordRef,
    aggregates,
    children,
    numeric,
    rebuild,
    walk,
)
from mpc.query.plan_pools import WordKind
from mpc.query.show import shown


@dataclass(frozen=True)
class DraftWord:
    kind: WordKind
    form: Form


@dataclass
class Draft:
    """A measure in the making. ``folded``: it adds up several totals."""

    keyed: bool
    words: list[DraftWord]
    folded: bool = False
    names: list[str] = field(default_factory=list)

    @property
    def aggregates(self) -> tuple[Agg, ...]:
        return tuple(dict.fromkeys(a for w in self.words for _, atom in w.form.terms for a in aggregates(atom)))

    @property
    def parties(self) -> frozenset[str]:
        return frozenset(p for a in self.aggregates for p in a.parties)


class Reveals:
    """Collects the measures of a query. ``WordRef.pool`` is the draft's number until pools are laid out."""

    def __init__(self, noised: bool = False) -> None:
        """``noised``: words carry noise, so each costs accuracy. Then nothing is NULL for want of rows (a total of
        nothing is 0 and noise), no word is spent on telling that, and only totals themselves are added up."""
        self._noised = noised
        self.drafts: list[Draft] = []
        self._by_terms: dict[tuple[bool, tuple[Term, ...], str], int] = {}
        self._alone: set[Agg] = set()

    def prepare(self, exprs: list[Expr]) -> None:
        """Look at all outputs first: a sum of totals that are shown anyway needs no word of its own."""
        for e in exprs:
            self._collect(e)

    def _collect(self, e: Expr) -> None:
        folded = self._foldable(e)
        if folded is None:
            if isinstance(e, Agg):
                self._alone.add(e)
            for child in children(e):
                self._collect(child)
            return
        _, rest, _ = folded
        for leaf, _ in rest:
            self._collect(leaf)

    def lower(self, e: Expr) -> Expr:
        """``e`` over revealed words."""
        if isinstance(e, Agg):
            return self._single(e)
        folded = self._foldable(e)
        if folded is None:
            if isinstance(e, IsNull) and isinstance(e.arg, Agg) and self._noised:
                return FALSE
            if isinstance(e, Divide) and self._noised:
                return self._divided(rebuild(e, self.lower))
            if isinstance(e, IsNull) and isinstance(e.arg, Agg) and e.arg.func in ("sum", "squares"):
                return build.compare(
                    "=", self._word(replace(e.arg, func="count", kind="integer", scale=0, nullable=False)), ZERO
                )
            return rebuild(e, self.lower)
        atoms, rest, constant = folded
        if all(isinstance(a := atom_of(leaf), Agg) and a in self._alone for leaf, _ in atoms):
            return rebuild(e, self.lower)
        return self._combined(e, atoms, rest, constant)

    # -- linear combinations

    def _foldable(self, e: Expr) -> tuple[list[tuple[Expr, Fraction]], list[tuple[Expr, Fraction]], Fraction] | None:
        """Atoms, other leaves and the constant of a combination of at least two atoms; None if it is none."""
        if not numeric(e) or isinstance(e, Agg):
            return None
        atoms: dict[Expr, Fraction] = {}
        rest: list[tuple[Expr, Fraction]] = []
        constant = Fraction(0)
        keyed = any(a.keyed for a in aggregates(e))
        for leaf, c in flatten(e):
            if leaf is None:
                constant += c
            elif atom_of(leaf) is not None and any(a.keyed for a in aggregates(leaf)) == keyed:
                atoms[leaf] = atoms.get(leaf, Fraction(0)) + c
            else:
                rest.append((leaf, c))
        # a leaf of one party's products and CASEs is computed at that party only where it joins with others
        parties = {p for leaf in atoms for a in aggregates(leaf) for p in a.parties}
        if len(parties) < 2 or self._noised:
            rest += [(leaf, c) for leaf, c in atoms.items() if not isinstance(atom_of(leaf), Agg)]
            atoms = {leaf: c for leaf, c in atoms.items() if isinstance(atom_of(leaf), Agg)}
        if len(atoms) < 2:
            return None
        return list(atoms.items()), rest, constant

    def _combined(
        self, e: Expr, atoms: list[tuple[Expr, Fraction]], rest: list[tuple[Expr, Fraction]], constant: Fraction
    ) -> Expr:
        """A word for the sum, one for the NULLs among its parts (``missing``, or present where cells can be empty)."""
        kept = [(atom_of(leaf) or leaf, c) for leaf, c in atoms if c != 0]
        keyed = any(a.keyed for leaf, _ in atoms for a in aggregates(leaf))
        nullable = [leaf for leaf, _ in atoms if leaf.nullable and not self._noised]
        several = [leaf for leaf in nullable if isinstance(leaf, Agg) and (len(leaf.parties) > 1 or leaf.joined)]
        single = [leaf for leaf in nullable if leaf not in several]
        draft = self._draft_of(keyed, [leaf for leaf, _ in atoms])
        tests: list[Expr] = []
        value: Expr = build.const("decimal" if e.kind == "decimal" else "integer", 0, e.scale)
        if kept:
            merged: dict[Expr, Fraction] = {}
            for atom, c in kept:
                merged[atom] = merged.get(atom, Fraction(0)) + c
            value = self._scaled(draft, form([(a, c) for a, c in merged.items() if c]), e)
        if single:
            indicators = [present(x) if keyed else missing(x) for x in single]
            ref = self._add(draft, form([(x, Fraction(1)) for x in indicators]), "count" if keyed else "nulls")
            tests.append(build.compare("=", ref, build.integer(len(single) if keyed else 0)))
        tests += [build.compare(">", self._word(_counted(x), draft), ZERO) for x in several]
        self.drafts[draft].names.append(shown(e))
        for leaf, c in rest:
            value = build.arith("+", value, build.times(self.lower(leaf), c, e.kind, e.scale))
        if constant:
            value = build.arith("+", value, _constant(constant, e))
        return build.case([(build.logic("and", *tests), value)], NULL) if tests else value

    def _scaled(self, draft: int, f: Form, e: Expr) -> Expr:
        kind: WordKind = "nulls" if all(is_missing(a) for _, a in f.terms) else "sum"
        if all(isinstance(a, Agg) and a.func in ("rows", "count", "distinct") for _, a in f.terms):
            kind = "count"
        return build.times(self._add(draft, f, kind), f.factor, e.kind, e.scale)

    def _draft_of(self, keyed: bool, leaves: list[Expr]) -> int:
        """The measure of a combination: an earlier one over the same totals, or a new one."""
        wanted = {a for leaf in leaves for a in aggregates(leaf)}
        for i, d in enumerate(self.drafts):
            have = set(d.aggregates)
            if d.folded and d.keyed == keyed and have and (wanted <= have or have <= wanted):
                return i
        self.drafts.append(Draft(keyed, [], folded=True))
        return len(self.drafts) - 1

    # -- single aggregates

    def _single(self, agg: Agg) -> Expr:
        word = self._word(agg)
        if self._noised:
            return word
        if isinstance(agg, Ranked):
            known = self._word(_known(agg))
            return build.case([(build.compare(">", known, ZERO), word)], build.const(agg.kind, None, agg.scale))
        if agg.func not in ("sum", "squares") and not (agg.func == "value" and agg.nullable):
            return word
        counted = self._word(_counted(agg))
        return build.case([(build.compare(">", counted, ZERO), word)], build.const(agg.kind, None, agg.scale))

    def _divided(self, e: Expr) -> Expr:
        """A quotient, NULL where a count in its divisor came out at 0 or below, since noise can do that."""
        assert isinstance(e, Divide)
        refs = dict.fromkeys(n for n in walk(e.right) if isinstance(n, WordRef))
        counts = [r for r in refs if self.drafts[r.pool].words[r.word].kind in ("rows", "count")]
        tests = [build.compare(">", r, ZERO) for r in counts]
        return build.case([(build.logic("and", *tests), e)], NULL) if tests else e

    def _word(self, agg: Agg, draft: int | None = None) -> Expr:
        """The word of one aggregate. Those over the same values share a measure."""
        if draft is None:
            apart = {"distinct": "distinct", "ranked": "ranked", "known": "ranked"}.get(agg.func, "")
            key = (agg.keyed, agg.terms, apart)
            if key not in self._by_terms:
                self._by_terms[key] = len(self.drafts)
                self.drafts.append(Draft(agg.keyed, []))
            draft = self._by_terms[key]
        names = self.drafts[draft].names
        if agg.name and agg.name not in names and not self.drafts[draft].folded:
            names.append(agg.name)
        kinds: dict[str, WordKind] = {k: k for k in ("rows", "sum", "squares", "value", "present", "ranked", "known")}
        return self._add(draft, form([(agg, Fraction(1))]), kinds.get(agg.func, "count"))

    def _add(self, draft: int, f: Form, kind: WordKind) -> WordRef:
        words = self.drafts[draft].words
        word = DraftWord(kind, replace(f, factor=Fraction(1)))
        if word not in words:
            words.append(word)
        only = f.terms[0][1]
        number = only.kind if isinstance(only, Ranked) else "decimal" if f.scale else "integer"
        return WordRef(number, f.scale, None, None, False, draft, 0, words.index(word))


def _counted(e: Agg) -> Agg:
    """What tells whether a total is NULL: the count of its values."""
    if e.func in ("sum", "squares", "value"):
        low, high = total_bounds("count", e.terms)
        return replace(e, func="count", kind="integer", scale=0, low=low, high=high, nullable=False)
    return e


def _known(e: Agg) -> Agg:
    """Whether there is any value."""
    return Agg("integer", 0, 0, 1, False, "known", e.terms, e.name)


def _constant(value: Fraction, e: Expr) -> Expr:
    scaled = value * 10**e.scale
    if scaled.denominator == 1 and e.kind != "double":
        return build.const(e.kind, int(scaled), e.scale)
    return build.divide(build.integer(value.numerator), build.integer(value.denominator))
