"""The structures by the names that a formula gives them."""

from __future__ import annotations

from collections.abc import Iterable

from pymackay.covariance.kinds.autoregressive import Autoregressive
from pymackay.covariance.kinds.compound import CompoundSymmetry
from pymackay.covariance.kinds.diagonal import Diagonal
from pymackay.covariance.kinds.factor_analytic import FactorAnalytic
from pymackay.covariance.kinds.known import Known
from pymackay.covariance.kinds.ou import OrnsteinUhlenbeck
from pymackay.covariance.kinds.reduced import ReducedRank
from pymackay.covariance.kinds.toeplitz import Toeplitz
from pymackay.covariance.layout import TermLayout, laid_out
from pymackay.covariance.structure import Structure
from pymackay.covariance.varcorr import TermSummary

STRUCTURES: dict[str, type[Structure]] = {
    kind.tag: kind
    for kind in (
        Diagonal,
        CompoundSymmetry,
        Autoregressive,
        OrnsteinUhlenbeck,
        Toeplitz,
        FactorAnalytic,
        ReducedRank,
        Known,
    )
}


def make_structure(
    tag: str,
    hom: bool,
    times: tuple[float, ...] = (),
    known: tuple[float, ...] = (),
    rank: int = 0,
) -> Structure | None:
    """Return the structure of a name, None of an empty one.

    `times` are those of effects by time, `known` the lower triangle of a known matrix, `rank` the
    number of factors.
    """
    if not tag:
        return None
    if tag == "propto":
        return Known(True, known)
    if tag == "rr":
        return ReducedRank(False, rank)
    return OrnsteinUhlenbeck(hom, times) if tag == "ou" else STRUCTURES[tag](hom)


def summary_layouts(terms: Iterable[TermSummary]) -> tuple[TermLayout, ...]:
    """Lay out the parameters and theta of terms that are known by their summaries, in order."""
    parts = []
    for term in terms:
        structure = make_structure(term.structure, term.hom, term.times, term.known, term.rank)
        parts.append((len(term.effects), structure))
    return laid_out(parts)


_INSIDE_OF = {
    "diag": ("cs", "toep", "fa"),
    "cs": ("toep",),
    "ar1": ("toep",),
}
"""Structures, and those besides any matrix of which they are special cases for the same effects."""


def is_part_of_sum(small: TermSummary, terms: Iterable[TermSummary]) -> bool:
    """Say whether `fa` is a special case of two terms, ``rr(f | g) + diag(f | g)``."""
    alike = {
        (term.structure, term.hom)
        for term in terms
        if term.group == small.group and set(term.effects) == set(small.effects)
    }
    return small.structure == "fa" and alike >= {("rr", False), ("diag", False)}


def is_special_case(small: TermSummary, large: TermSummary) -> bool:
    """Say whether the structure of a term is a special case of that of another, of equal effects.

    Of effects that are not the same nothing is known, and True is returned: structures of one part
    of them, or of sums, may be special cases too.
    """
    full = large.structure in ("", "rr") and not 0 < large.rank < len(large.effects)
    if full or set(small.effects) != set(large.effects):
        return True
    if small.structure == large.structure == "rr":
        return small.rank <= large.rank
    if small.structure == "rr":
        return small.rank == 1 and large.structure == "fa"
    if small.structure == "diag" and large.structure == "ar1":
        return small.hom or not large.hom
    related = large.structure in (small.structure, *_INSIDE_OF.get(small.structure, ()))
    same = small.known == large.known and small.times == large.times
    return related and same and (small.hom or not large.hom)
