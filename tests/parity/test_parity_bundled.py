"""Every recorded answer of lme4 against ours: same model, never above it, the same numbers."""

from __future__ import annotations

import pytest
from bundled import IDS, LISTED, comparison, ours, question, theirs
from deviations import deviations, truth_of_fit
from tolerances import tol

# no subject has both sexes: nothing in the data tells the correlation
UNIDENTIFIED = ("distance ~ age + (0 + Sex | Subject)",)

pytestmark = [
    pytest.mark.parametrize("number", range(len(LISTED)), ids=IDS),
    pytest.mark.filterwarnings("ignore::pymackay.RWarning"),
]


def test_estimates_are_those_of_lme4s_tight_optimum(number: int) -> None:
    fit = ours(number)
    identified = question(number).formula not in UNIDENTIFIED
    result = deviations(fit, truth_of_fit(theirs(number, "tight"), identified=identified))
    assert [d for d in result if not d.ok] == []
    assert fit.convergence.converged


def test_never_above_what_a_user_of_lme4_gets(number: int) -> None:
    assert ours(number).criterion <= theirs(number, "default").criterion + tol("certified")


@pytest.mark.parametrize("how", ["tight", "default"])
def test_the_comparison_holds(number: int, how: str) -> None:
    result = comparison(number, how)
    assert result.ok, str(result)
    assert result.verdict != "theirs lower"
