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
