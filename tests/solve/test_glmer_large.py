"""The iterative solver of generalised models: the exact one's answers, within its stated errors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from crossed_models import crossed, laplace_of

import pymackay as pm
from pymackay.solve.pirls.large import fit as large_fit
from pymackay.solve.pirls.large.fit import choose_general
from pymackay.solve.pirls.large.system import Probing

_ERRORS = 5.0  # stated errors that an estimate may be off: they have few degrees of freedom
FORMULAS = {
    "yes ~ x + (1 | a) + (1 | b)": pm.Binomial(),
    "count ~ x + (1 + x | a) + (1 | b)": pm.Poisson(),
    "yes ~ x + (1 | a) + (1 | b) + (1 | c)": pm.Binomial("probit"),
    "count ~ x + (1 | a) + diag(1 + x | b)": pm.NegativeBinomial(),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_with_a_probe_for_each_effect_the_gradient_is_exact(formula):
    exact = laplace_of(formula, crossed(1), FORMULAS[formula])
    m = exact.rows.n_effects - exact.rows.lead
    probing = replace(Probing.of(exact.rows, 2), signs=np.sqrt(m) * np.eye(m))
    large = replace(exact, rows=replace(exact.rows, probing=probing))
    psi = np.full(exact.size, 0.4)
    one, other = exact.at(psi), large.at(psi)
    np.testing.assert_allclose(other.mode.u, one.mode.u, atol=1e-8)
    np.testing.assert_allclose(other.leverages, one.leverages, rtol=1e-6)
    size = np.abs(one.gradient).max()
    np.testing.assert_allclose(other.gradient, one.gradient, atol=1e-6 * size)
    each = np.stack([np.concatenate([s.ravel() for s in other.determinant.factor_slopes(t)])
                     for t in range(m)])  # fmt: skip
    joined = np.concatenate([s.ravel() for s in one.determinant.factor_slopes()])
    np.testing.assert_allclose(each.mean(axis=0), joined, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("formula", FORMULAS)
def test_estimates_are_the_exact_ones_within_the_stated_errors(formula):
    data, family = crossed(2), FORMULAS[formula]
    exact = pm.glmer(formula, data, family)
    large = pm.glmer(formula, data, family, solver="iterative")
    assert large.convergence.converged
    errors = large.convergence.monte_carlo_error
    for name, V in exact.varcorr.items():
        for effect in V.index:
            gap = large.varcorr[name].loc[effect, effect] - V.loc[effect, effect]
            stated = errors[f"{name}.{effect}"]
            assert abs(gap) <= _ERRORS * stated + 1e-6
            assert stated <= 1e-3 * V.loc[effect, effect] or "not reached" in str(large.messages)
    assert abs(large.criterion - exact.criterion) <= _ERRORS * errors["criterion"] + 1e-6
    np.testing.assert_allclose(large.beta, exact.beta, atol=0.01 * exact.std_error.min())
    np.testing.assert_allclose(large.std_error, exact.std_error, rtol=0.01)
    with pytest.raises(pm.PymackayError, match="use solver='exact'"):
        _ = large.condvar


def test_the_solver_is_chosen_by_the_size_and_says_so(monkeypatch):
    formula, data = "yes ~ x + (1 | a) + (1 | b)", crossed(3)
    rows = laplace_of(formula, data, pm.Binomial()).rows
    assert not choose_general(rows, "auto", 1).iterative
    monkeypatch.setattr(large_fit, "_PATIENCE", 1e-9)
    fit = pm.glmer(formula, data, "binomial")
    assert fit.convergence.probes >= 8
    assert "solver='exact' insists" in fit.messages[0]
    with pytest.raises(pm.ArgumentError, match="nagq=0 is not offered by the iterative solver"):
        choose_general(rows, "auto", 0)
    monkeypatch.setattr(large_fit, "free_memory", lambda: 1.0)
    monkeypatch.setattr(large_fit, "_LITTLE", 0.0)
    with pytest.raises(pm.ArgumentError, match=r"would need about .* GiB"):
        choose_general(rows, "exact", 1)


def test_what_the_iterative_solver_cannot_fit_is_refused():
    with pytest.raises(pm.ArgumentError, match="two or more grouping factors"):
        pm.glmer("yes ~ x + (1 | a)", crossed(1), "binomial", solver="iterative")
    with pytest.raises(pm.ArgumentError, match="solver must be"):
        pm.glmer("yes ~ x + (1 | a)", crossed(1), "binomial", solver="quick")


AFTER: dict[str, Callable[[pm.Fit, pm.Fit, pd.DataFrame, Path], Any]] = {
    "refit": lambda fit, small, data, folder: fit.refit(data["y"].to_numpy()[::-1]).beta,
    "bootstrap": lambda fit, small, data, folder: fit.bootstrap(2, seed=1).replicates,
    "simulate": lambda fit, small, data, folder: fit.simulate(2, seed=1),
    "predict": lambda fit, small, data, folder: fit.predict(data.head(5), se_fit=True),
    "save": lambda fit, small, data, folder: pm.load_fit(fit.save(folder / "one.fit")).beta,
    "saved refit": lambda fit, small, data, folder: (
        pm.load_fit(fit.save(folder / "one.fit")).refit(data["y"].to_numpy()[::-1]).beta
    ),
    "pickle": lambda fit, small, data, folder: pickle.loads(pickle.dumps(fit)).predict(data),
    "anova": lambda fit, small, data, folder: fit.anova(small)[["Df", "deviance"]],
    "contrast": lambda fit, small, data, folder: (
        pd.DataFrame(fit.contrast({"x": 1.0})).select_dtypes("number").iloc[:, :2]
    ),
}


@pytest.fixture(scope="module")
def solved() -> tuple[pd.DataFrame, dict[str, list[pm.Fit]]]:
    """Return rows, and fits of a model and of a smaller one by each solver."""
    random, n = np.random.default_rng(3), 400
    data = pd.DataFrame({"g": random.integers(0, 40, n), "h": random.integers(0, 12, n)})
    data["x"] = random.normal(size=n)
    effects = 0.6 * random.normal(size=40)[data["g"]] + 0.5 * random.normal(size=12)[data["h"]]
    data["y"] = random.poisson(np.exp(0.4 + 0.3 * data["x"] + effects))
    formulas = ("y ~ x + (1 | g) + (1 | h)", "y ~ 1 + (1 | g) + (1 | h)")
    return data, {
        solver: [pm.glmer(formula, data, "poisson", solver=solver) for formula in formulas]
        for solver in ("exact", "iterative")
    }


@pytest.mark.parametrize("name", AFTER)
def test_methods_after_an_iterative_fit_are_those_of_the_exact_one(name, solved, tmp_path):
    """The probes move an answer by less than three of the fit's own stated errors."""
    data, fits = solved
    error = 3.0 * max(fits["iterative"][0].convergence.monte_carlo_error.values())
    ours, theirs = (
        pd.DataFrame(np.asarray(AFTER[name](*fits[solver], data, tmp_path), dtype=np.float64))
        for solver in ("iterative", "exact")
    )
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=error)


def test_an_iterative_fit_says_what_its_certificate_rests_on(solved, tmp_path):
    fit = solved[1]["iterative"][0]
    assert "estimated with one set of random probes" in fit.convergence.message
    again = pm.load_fit(fit.save(tmp_path / "one.fit"))
    assert again.problem.laplace.rows.probing.signs.shape[1] == fit.convergence.probes
    for each in (fit, again):
        with pytest.raises(pm.PymackayError, match="solver='exact'"):
            _ = each.condvar
