"""A term whose covariance has a structure, through the solver and the search."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from random_designs import one_factor_table
from scipy.linalg import block_diag
from tolerances import tol

from pymackay.covariance.kinds.diagonal import Diagonal
from pymackay.covariance.layout import TermLayout
from pymackay.model.design.build import build_model
from pymackay.model.sums.gram import Gram, cross_products
from pymackay.solve.assemble import theta_from_factors
from pymackay.solve.exact.solver import Exact
from pymackay.solve.search.landscape import Landscape
from pymackay.solve.search.newton import find_optimum
from pymackay.solve.search.runaway import follow
from pymackay.solve.search.values import Factors


def one_diagonal_term(gram: Gram) -> Gram:
    """Return sums of terms ``(x || g)``, which stand in one block, as those of one term."""
    (block,) = gram.blocks
    layouts = (TermLayout.of(block.q, 0, Diagonal()),)
    transforms = (block_diag(*gram.transforms),)
    return replace(
        gram, blocks=(replace(block, terms=(0,)),), layouts=layouts, transforms=transforms
    )


CASES = {
    "inside": (8, 12, 0.0, (1.0, 0.0, 1.0)),
    "boundary": (8, 12, 0.0, (0.0, 0.0, 1.0)),
    "far from zero": (39, 5, 100.0, (5.0, 1.0, 5.0)),
}


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_diagonal_term_is_terms_that_do_not_correlate(name: str, reml: bool) -> None:
    """With x far from zero further starts are needed too."""
    data = one_factor_table(3, *CASES[name])
    gram = cross_products(build_model("y0 ~ x + (x + z || g)", data))
    apart = find_optimum(Exact(gram, reml))
    diagonal = one_diagonal_term(gram)
    together = find_optimum(Exact(diagonal, reml))
    assert apart.convergence.converged and together.convergence.converged
    close = {"abs": tol("tight criterion")}
    assert together.evaluation.criterion == pytest.approx(apart.evaluation.criterion, **close)
    if name == "far from zero":
        return  # intercepts and slopes are nearly one column there, and theta has fewer digits
    np.testing.assert_allclose(
        theta_from_factors(diagonal, together.factors),
        theta_from_factors(gram, apart.factors),
        atol=tol("invariance"),
        rtol=tol("invariance"),
    )


def test_at_a_residual_variance_of_zero_directions_are_singular_beside_the_largest() -> None:
    """Beside sigma, which goes to zero, each of them is large."""

    class Falling:
        """A criterion that falls with the first variance, and a residual variance that vanishes."""

        def evaluate(self, factors: Factors) -> Any:
            variance = factors[0][:, 0, 0] ** 2
            return SimpleNamespace(
                criterion=10.0 + 1.0 / variance, rounding=np.array([1e-12]), sigma2=1e-6 / variance
            )

    ended = (np.diag([1e3, 1e-2])[None], np.eye(1)[None])
    runaway = follow(cast(Landscape, Falling()), ended)
    assert runaway is not None
    assert runaway.gap < 1e-6
    ratios = runaway.factors[0] / runaway.factors[0][0, 0]
    np.testing.assert_allclose(ratios, np.diag([1.0, 0.0]), atol=1e-12)
