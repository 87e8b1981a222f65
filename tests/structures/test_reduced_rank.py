"""``rr(f | g, d = 2)`` and ``fa(f | g)``: covariance matrices by loadings on a few factors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm

SD_AND_COR = tuple[list[float], list[float]]


@pytest.fixture(scope="module")
def machines() -> pd.DataFrame:
    return pm.load_data("Machines")


def simulated(loadings: np.ndarray, alone: float, levels: int, seed: int) -> pd.DataFrame:
    """Return 1 to 3 rows of each effect and level, with residuals of variance one."""
    rng = np.random.default_rng(seed)
    q, d = loadings.shape
    effects = rng.normal(size=(levels, d)) @ loadings.T + alone * rng.normal(size=(levels, q))
    count = rng.integers(1, 4, size=effects.size)
    g, f = (np.repeat(index.ravel(), count) for index in np.indices(effects.shape))
    y = effects[g, f] + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "f": pd.Categorical(f), "g": g.astype(str)})


@pytest.fixture(scope="module")
def two_factors() -> pd.DataFrame:
    loadings = [[1.2, 0.0], [0.8, 0.5], [-0.6, 0.9], [0.3, -0.7], [1.0, 0.2]]
    return simulated(np.array(loadings), 0.0, levels=25, seed=5)


def dense_criterion(data: pd.DataFrame, G: np.ndarray, sigma: float, reml: bool) -> float:
    """Return −2 log likelihood at absolute covariances, n x n; fixed effects of f at their best."""
    X = np.eye(len(G))[data["f"].cat.codes]
    same = np.equal.outer(data["g"].to_numpy(), data["g"].to_numpy())
    V = sigma**2 * np.eye(len(X)) + same * (X @ G @ X.T)
    inner = X.T @ np.linalg.solve(V, X)
    beta = np.linalg.solve(inner, X.T @ np.linalg.solve(V, data["y"]))
    left = data["y"] - X @ beta
    value = np.linalg.slogdet(V)[1] + left @ np.linalg.solve(V, left)
    n = len(X) - reml * len(G)
    return float(value + reml * np.linalg.slogdet(inner)[1] + n * np.log(2.0 * np.pi))


@pytest.mark.parametrize(
    ("d", "reml", "criterion", "sd", "correlation", "sigma"),
    [
        (1, True, 254.4961092746, [3.43207379335, 8.48911459133, 3.62055906781],
         [1.0, 1.0, 1.0], 2.20259132786),
        (2, True, 238.4356582945, [3.6058786143, 8.53677442218, 4.27933415572],
         [0.971871917791, 0.65498872498, 0.814525631421], 1.64994324996),
        (1, False, 260.0497496693, [3.12911875379, 7.73976590269, 3.30096607106],
         [1.0, 1.0, 1.0], 2.15621578945),
        (2, False, 244.8741120425, [3.28587530632, 7.78642654022, 3.89122538537],
         [0.972450299452, 0.661165245758, 0.817839089229], 1.63018273677),
    ],
)  # fmt: skip
def test_glmmtmb_finds_the_same(
    machines: pd.DataFrame, d: int, reml: bool, criterion: float, sd: list[float],
    correlation: list[float], sigma: float,
) -> None:  # fmt: skip
    """GlmmTMB 1.1.5 (optim's BFGS, reltol = 1e-15) says so."""
    fit = pm.lmer(f"score ~ Machine + rr(0 + Machine | Worker, d = {d})", machines, reml=reml)
    assert fit.convergence.converged and not fit.messages and not fit.singular
    assert fit.criterion == pytest.approx(criterion, abs=tol("tight criterion"))
    G = fit.varcorr["Worker"].to_numpy()
    np.testing.assert_allclose(np.sqrt(np.diag(G)), sd, rtol=2e-6)
    R = G / np.outer(sd, sd)
    np.testing.assert_allclose(R[np.tril_indices(3, -1)], correlation, rtol=5e-6)
    assert np.linalg.matrix_rank(G, tol=1e-10) == d
    assert fit.sigma == pytest.approx(sigma, rel=1e-6)
    assert len(fit.par) == 3 * d - d * (d - 1) // 2 and fit.df == len(fit.par) + 4


@pytest.mark.parametrize("reml", [True, False])
def test_no_matrix_of_this_rank_near_the_optimum_is_better(
    two_factors: pd.DataFrame, reml: bool
) -> None:
    """A dense likelihood agrees there, has no slope by any loading, and is higher around."""
    fit = pm.lmer("y ~ f + rr(0 + f | g)", two_factors, reml=reml)
    loadings, rows = np.zeros((5, 2)), [(i, j) for j in range(2) for i in range(j, 5)]
    loadings[tuple(np.transpose(rows))] = fit.par

    def criterion(change: np.ndarray) -> float:
        moved = fit.sigma * (loadings + change)
        return dense_criterion(two_factors, moved @ moved.T, fit.sigma, reml)

    here = criterion(np.zeros((5, 2)))
    assert here == pytest.approx(fit.criterion, abs=tol("tight criterion"))
    rng = np.random.default_rng(2)
    for direction in rng.normal(size=(20, 5, 2)):
        up, down = criterion(1e-4 * direction), criterion(-1e-4 * direction)
        assert abs(up - down) < 1e-6 and min(up, down) > here - tol("tight criterion")


def test_as_many_factors_as_effects_are_no_structure(machines: pd.DataFrame) -> None:
    plain = pm.lmer("score ~ Machine + (0 + Machine | Worker)", machines)
    full = pm.lmer("score ~ Machine + rr(0 + Machine | Worker, d = 3)", machines)
    assert full.criterion == pytest.approx(plain.criterion, abs=tol("tight criterion"))
    assert full.par.index.tolist() == plain.theta.index.tolist()
    np.testing.assert_allclose(full.par.to_numpy(), plain.theta.to_numpy(), rtol=tol("tight"))
    for ddf in ("Satterthwaite", "Kenward-Roger"):
        ours, expected = (fit.coefficients(ddf=ddf).to_numpy() for fit in (full, plain))
        np.testing.assert_allclose(ours, expected, rtol=tol("oracle"))
    ours, expected = (fit.confint(parm=[".sig02", ".sig04"]).to_numpy() for fit in (full, plain))
    np.testing.assert_allclose(ours, expected, rtol=tol("profile"))


def test_models_between_diag_and_us(two_factors: pd.DataFrame) -> None:
    terms = {
        "diag": "diag(0 + f | g)",
        "fa": "fa(0 + f | g)",
        "sum": "rr(0 + f | g, d = 1) + diag(0 + f | g)",
        "fa 2": "rr(0 + f | g, d = 2) + diag(0 + f | g)",
        "us": "(0 + f | g)",
        "rr 1": "rr(0 + f | g, d = 1)",
        "rr 2": "rr(0 + f | g, d = 2)",
    }
    fits = {name: pm.lmer(f"y ~ f + {term}", two_factors) for name, term in terms.items()}
    height = {name: fit.criterion for name, fit in fits.items()}
    assert height["fa"] == pytest.approx(height["sum"], abs=tol("tight criterion"))
    for chain in (("diag", "fa", "fa 2", "us"), ("rr 1", "rr 2", "fa 2", "us"), ("rr 1", "fa")):
        heights = [height[name] for name in chain]
        assert all(a > b - tol("tight criterion") for a, b in pairwise(heights))
    total = fits["sum"].varcorr["g"].to_numpy() + fits["sum"].varcorr["g.1"].to_numpy()
    np.testing.assert_allclose(fits["fa"].varcorr["g"], total, rtol=tol("tight"), atol=1e-5)
    assert all(fit.convergence.converged for fit in fits.values())


def test_loadings_of_one_factor(two_factors: pd.DataFrame) -> None:
    """The covariance matrix is that of its parameters; the largest loading is positive."""
    fit = pm.lmer("y ~ f + fa(0 + f | g)", two_factors)
    effects = [f"f{k}" for k in range(5)]
    names = [*(f"g.{name}" for name in effects), *(f"g.loading.{name}" for name in effects)]
    assert fit.par.index.tolist() == names
    sd, loading = fit.sigma * fit.par.to_numpy()[:5], fit.par.to_numpy()[5:]
    expected = np.outer(sd * loading, sd * loading)
    expected[np.diag_indices(5)] = sd**2
    np.testing.assert_allclose(fit.varcorr["g"], expected, rtol=tol("oracle"))
    assert loading[np.abs(loading).argmax()] > 0.0
    here = dense_criterion(two_factors, expected, fit.sigma, True)
    assert here == pytest.approx(fit.criterion, abs=tol("tight criterion"))
    assert fit.bootstrap(2, seed=1).estimate.filter(like="loading_").to_numpy() == pytest.approx(
        loading, rel=tol("tight")
    )


def test_an_effect_without_a_part_of_its_own_is_at_a_bound() -> None:
    data = simulated(np.array([[1.5], [1.0], [-0.8], [0.7]]), 0.0, levels=30, seed=1)
    fit = pm.lmer("y ~ f + fa(0 + f | g)", data)
    loading = fit.par.to_numpy()[4:]
    assert fit.singular and (np.abs(loading) == 1.0).any()
    assert pm.lmer("y ~ f + rr(0 + f | g, d = 1)", data).singular is False


def test_a_rank_that_the_data_do_not_need_is_singular(machines: pd.DataFrame) -> None:
    data = simulated(np.array([[1.5], [1.0], [-0.8]]), 0.0, levels=8, seed=4)
    fit = pm.lmer("y ~ f + rr(0 + f | g, d = 3)", data)
    plain = pm.lmer("y ~ f + (0 + f | g)", data)
    assert fit.singular == plain.singular is True
    assert fit.criterion == pytest.approx(plain.criterion, abs=tol("tight criterion"))


def test_two_loadings_are_not_determined() -> None:
    with pytest.raises(pm.DataError, match=r"write \(Days \| Subject\)|Write \(Days \| Subject\)"):
        pm.lmer("Reaction ~ Days + fa(Days | Subject)", pm.load_data("sleepstudy"))


def test_the_loop_ends_at_the_optimum_of_fa_and_refuses_rr(machines: pd.DataFrame) -> None:
    formula = "score ~ Machine + fa(0 + Machine | Worker)"
    fit = pm.lmer(formula, machines)
    for update in ("em", "gamma"):
        loop = pm.mackay(formula, machines, update=update)
        assert loop.criterion == pytest.approx(fit.criterion, abs=tol("tight criterion"))
    with pytest.raises(pm.ArgumentError, match=r"reduced rank, rr\(\)"):
        pm.mackay("score ~ Machine + rr(0 + Machine | Worker)", machines)


def test_a_profile_is_the_rise_of_the_deviance(two_factors: pd.DataFrame) -> None:
    """No starting point finds a lower deviance where the standard deviation is held."""
    fit = pm.lmer("y ~ f + rr(0 + f | g, d = 1)", two_factors, reml=False)
    profile = fit.profile("sd_f1|g", max_zeta=1.0, points=3)
    low, peak, high = profile.frame["value"]
    assert low < peak < high
    assert profile.frame["zeta"].tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-6)
    for row, (value, zeta) in enumerate(zip((low, high), (-1.0, 1.0), strict=True)):
        at = profile.frame.iloc[2 * row]
        sd = at[[f".sig0{k}" for k in range(1, 6)]].to_numpy(dtype=float)
        signs = np.sign(fit.par.to_numpy())
        G = np.outer(sd * signs, sd * signs)
        assert sd[1] == pytest.approx(value, rel=1e-9)
        held = dense_criterion(two_factors, G, at[".sigma"], False)
        assert held == pytest.approx(fit.criterion + zeta**2, abs=1e-6)


def counts() -> pd.DataFrame:
    """Return counts of four effects that depend on two factors."""
    rng = np.random.default_rng(8)
    loadings = np.array([[1.0, 0.0], [0.6, 0.5], [-0.5, 0.6], [0.3, -0.7]])
    rows = []
    for level in range(60):
        effects = loadings @ rng.normal(size=2)
        for i in range(4):
            for _ in range(2):
                eta = 0.5 + 0.2 * i + effects[i]
                rows.append((f"g{level:02d}", f"f{i}", rng.poisson(np.exp(eta))))
                rng.binomial(1, 0.5)
    return pd.DataFrame(rows, columns=["g", "f", "y"])


def test_a_generalised_model_has_a_reduced_rank_too() -> None:
    data = counts()
    fit = pm.glmer("y ~ f + rr(0 + f | g)", data, family="poisson")
    plain = pm.glmer("y ~ f + (0 + f | g)", data, family="poisson")
    assert fit.convergence.converged and not fit.singular
    assert fit.criterion > plain.criterion - tol("tight criterion")
    G = fit.varcorr["g"].to_numpy()
    assert np.linalg.matrix_rank(G, tol=1e-10) == 2
    full = pm.glmer("y ~ f + rr(0 + f | g, d = 4)", data, family="poisson")
    assert full.criterion == pytest.approx(plain.criterion, abs=tol("tight criterion"))
    np.testing.assert_allclose(full.beta.to_numpy(), plain.beta.to_numpy(), rtol=tol("tight"))
