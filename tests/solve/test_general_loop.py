"""MacKay's loop on generalised models: penalised quasi-likelihood, and its repair by means."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm

FAMILIES = {
    "binary": "binomial",
    "probit": pm.Binomial("probit"),
    "count": "poisson",
    "dispersed": pm.NegativeBinomial(),
    "positive": pm.Gamma("log"),
    "real": pm.Gaussian("log"),
}
RANDOM = ("(1 | g)", "(x | g)", "(1 | g) + (1 | h)", "(x || g) + (1 | h)")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """400 rows of 25 levels crossed with 8, with a response of each family."""
    random = np.random.default_rng(3)
    n = 400
    g, h = random.integers(0, 25, n), random.integers(0, 8, n)
    x = random.normal(size=n)
    shift = 0.8 * random.normal(size=25)[g] + 0.8 * random.normal(size=25)[g] * x
    eta = 0.3 + 0.4 * x + shift + 0.5 * random.normal(size=8)[h]
    mean = np.exp(eta)
    chance = 1.0 / (1.0 + np.exp(-eta))
    return pd.DataFrame(
        {
            "g": [f"g{level}" for level in g],
            "h": [f"h{level}" for level in h],
            "x": x,
            "binary": (random.random(n) < chance).astype(int),
            "probit": (random.random(n) < chance).astype(int),
            "count": random.poisson(mean),
            "dispersed": random.poisson(mean * random.gamma(2.0, 0.5, n)),
            "positive": mean * random.gamma(4.0, 0.25, n),
            "real": np.sqrt(mean) + 0.3 * random.normal(size=n),
        }
    )


@pytest.fixture(scope="module")
def optima(data: pd.DataFrame) -> Callable[[str, str], pm.Fit]:
    """The fit of `glmer` by response and random part, each made once."""
    made: dict[tuple[str, str], pm.Fit] = {}

    def optimum(y: str, random: str) -> pm.Fit:
        if (y, random) not in made:
            made[y, random] = pm.glmer(f"{y} ~ x + {random}", data, FAMILIES[y])
        return made[y, random]

    return optimum


def agree(fit: pm.Fit, optimum: pm.Fit) -> None:
    """The whole of two fits at one optimum."""
    assert fit.convergence.converged
    size = 1.0 + abs(optimum.criterion)
    assert fit.criterion == pytest.approx(optimum.criterion, abs=tol("refreshed optimum") * size)
    scale = optimum.theta.abs().max()
    assert list(fit.theta.index) == list(optimum.theta.index)
    assert fit.theta.to_numpy() == pytest.approx(
        optimum.theta.to_numpy(), abs=tol("loop by means") * scale
    )
    off = (fit.beta - optimum.beta) / optimum.std_error
    assert list(off.index) == list(optimum.beta.index)
    assert np.abs(off.to_numpy()).max() < tol("loop by means")
    assert fit.std_error.to_numpy() == pytest.approx(
        optimum.std_error.to_numpy(), rel=tol("glmm standard errors")
    )
    assert fit.sigma == pytest.approx(optimum.sigma, rel=tol("loop by means"))


@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("y", FAMILIES)
def test_with_means_the_loop_ends_at_the_optimum_of_glmer(data, optima, y, random):
    fit = pm.mackay(f"{y} ~ x + {random}", data, family=FAMILIES[y], effects="mean")
    agree(fit, optima(y, random))
    assert len(fit.trace) < 60


@pytest.mark.parametrize("options", [{"update": "em"}, {"acceleration": False}])
@pytest.mark.parametrize("y", ["binary", "dispersed", "positive"])
def test_so_it_does_by_every_rule_of_the_likelihood(data, optima, y, options):
    fit = pm.mackay(f"{y} ~ x + (1 | g)", data, family=FAMILIES[y], effects="mean", **options)
    agree(fit, optima(y, "(1 | g)"))


def test_an_estimated_shape_is_that_of_glmer(data, optima):
    fit = pm.mackay("dispersed ~ x + (1 | g)", data, family=FAMILIES["dispersed"], effects="mean")
    optimum = optima("dispersed", "(1 | g)")
    assert fit.general.shape == pytest.approx(optimum.general.shape, rel=tol("loop by means"))
    assert fit.trace["shape"].iloc[-1] == fit.general.shape
    assert fit.df == optimum.df


def dense_round(
    fit: pm.Fit, data: pd.DataFrame, y: str
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Return V, dispersion, β and modes after one round from a fit with the term (x | g).

    Penalised iterated weighted least squares with dense matrices (Breslow & Clayton 1993, sec. 2).
    """
    family = fit.general.family
    V, phi = fit.varcorr["g"].to_numpy(), fit.general.dispersion
    levels = list(fit.ranef["g"].index)
    q, J = 2, len(levels)
    X = np.column_stack([np.ones(len(data)), data["x"]])
    Z = np.zeros((len(data), q * J))
    for i, (level, row) in enumerate(zip(data["g"], X, strict=True)):
        start = q * levels.index(level)
        Z[i, start : start + q] = row
    response = data[y].to_numpy(dtype=float)
    prior = np.kron(np.eye(J), np.linalg.inv(V))
    eta = np.full(len(data), family.predictor(np.array([response.mean()]))[0])
    for _ in range(60):
        mu, slope = family.mean(eta), family.mean_slope(eta)
        w = slope**2 / family.variance(mu) / phi
        working = eta + (response - mu) / slope
        C = np.hstack([X, Z])
        H = C.T @ (w[:, None] * C)
        H[2:, 2:] += prior
        solved = np.linalg.solve(H, C.T @ (w * working))
        eta = C @ solved
    modes = solved[2:].reshape(J, q)
    errors = np.linalg.inv(Z.T @ (w[:, None] * Z) + prior)
    total = sum(errors[q * j : q * j + q, q * j : q * j + q] for j in range(J))
    mu = family.mean(eta)
    pearson = float(((response - mu) ** 2 / family.variance(mu)).sum())
    gamma = q * J - float(np.trace(np.linalg.inv(V) @ total))
    dispersion = pearson / (len(data) - gamma) if family.has_dispersion else 1.0
    return (modes.T @ modes + total) / J, dispersion, solved[:2], modes


@pytest.mark.parametrize("update", ["gamma", "em"])
@pytest.mark.parametrize("y", ["binary", "probit", "count", "positive", "real"])
def test_with_modes_the_loop_solves_the_equations_of_pql(data, y, update):
    formula = f"{y} ~ x + (x | g)"
    fit = pm.mackay(formula, data, family=FAMILIES[y], update=update)
    V, phi, beta, modes = dense_round(fit, data, y)
    assert fit.convergence.converged
    assert fit.varcorr["g"].to_numpy() == pytest.approx(V, abs=tol("loop by means") * V.max())
    assert fit.general.dispersion == pytest.approx(phi, rel=tol("loop by means"))
    assert fit.beta.to_numpy() == pytest.approx(beta, abs=tol("loop by means"))
    assert fit.ranef["g"].to_numpy() == pytest.approx(modes, abs=tol("loop by means"))


@pytest.mark.parametrize("structure", ["cs", "ar1", "diag"])
def test_terms_with_a_structure_end_at_the_optimum_too(structure):
    random = np.random.default_rng(1)
    g = np.repeat(np.arange(60), 10)
    data = pd.DataFrame({"g": g, "f": [*"abcde"] * 120})
    shift = 0.5 * random.normal(size=60)[g]
    cell = 0.5 * random.normal(size=(60, 5))[g, data["f"].map("abcde".index)]
    data["y"] = random.poisson(np.exp(0.5 + shift + cell))
    formula = f"y ~ 1 + {structure}(0 + f | g)"
    optimum = pm.glmer(formula, data, "poisson")
    agree(pm.mackay(formula, data, family="poisson", effects="mean"), optimum)


def test_acceleration_saves_rounds_with_modes(data):
    formula = "binary ~ x + (x | g)"
    quick = pm.mackay(formula, data, family="binomial")
    slow = pm.mackay(formula, data, family="binomial", acceleration=False)
    assert len(quick.trace) < 0.5 * len(slow.trace)
    assert quick.theta.to_numpy() == pytest.approx(slow.theta.to_numpy(), rel=1e-6)


R_CODE = """
suppressMessages(library(nlme))
d <- read.csv("data.csv")
control <- lmeControl({sigma}opt = "optim", maxIter = 500, msMaxIter = 500,
                       tolerance = 1e-9, returnObject = TRUE)
fit <- MASS::glmmPQL({fixed}, random = ~ 1 | g, family = {family}, data = d, niter = 200,
                     verbose = FALSE, control = control)
cat(format(c(as.matrix(getVarCov(fit)), fit$sigma^2, fixef(fit), sqrt(diag(vcov(fit)))),
           digits = 17), sep = "\\n")
"""


@pytest.mark.live
@pytest.mark.parametrize(
    ("y", "family", "sigma"),
    [
        ("binary", "binomial()", "sigma = 1, "),
        ("count", "poisson()", "sigma = 1, "),
        ("positive", 'Gamma("log")', ""),
    ],
)
def test_glmmpql_of_r(tmp_path: Path, y, family, sigma):
    """R's function has no step control: these data have one random effect, as the model says."""
    random = np.random.default_rng(4)
    g, x = np.repeat(np.arange(40), 10), random.normal(size=400)
    mean = np.exp(1.0 + 0.3 * x + 0.5 * random.normal(size=40)[g])
    data = pd.DataFrame({"g": g, "x": x, "count": random.poisson(mean)})
    data["positive"] = mean * random.gamma(4.0, 0.25, 400)
    data["binary"] = (random.random(400) < 1.0 / (1.0 + mean**-2)).astype(int)
    data.to_csv(tmp_path / "data.csv", index=False)
    code = R_CODE.format(fixed=f"{y} ~ x", family=family, sigma=sigma)
    command = ["Rscript", "--vanilla", "-e", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    theirs = np.array(done.stdout.split(), dtype=float)
    fit = pm.mackay(f"{y} ~ x + (1 | g)", data, family=FAMILIES[y])
    variance = fit.varcorr["g"].iloc[0, 0]
    ours = np.array([variance, fit.sigma**2, *fit.beta, *fit.std_error])
    scale = np.array([variance, fit.sigma**2, *fit.std_error, *fit.std_error])
    assert np.abs((ours - theirs) / scale).max() < tol("glmmPQL")


def test_a_fit_says_that_it_is_pql(data):
    fit = pm.mackay("binary ~ x + (1 | g)", data, family="binomial")
    assert "quasi-likelihood" in fit.general.method
    assert "quasi-likelihood" in str(fit)
    assert any("effects='mean'" in message for message in fit.messages)
    mean = pm.mackay("binary ~ x + (1 | g)", data, family="binomial", effects="mean")
    assert "Laplace" in mean.general.method
    assert not mean.messages


def test_pql_underestimates_variances_of_binary_data(data, optima):
    fit = pm.mackay("binary ~ x + (1 | g)", data, family="binomial")
    assert fit.theta.iloc[0] < 0.97 * optima("binary", "(1 | g)").theta.iloc[0]
    assert fit.criterion > optima("binary", "(1 | g)").criterion


def test_the_trace_has_the_columns_of_a_linear_loop(data):
    fit = pm.mackay("count ~ x + (x | g)", data, family="poisson")
    assert list(fit.trace.columns) == [
        "iteration",
        "g.(Intercept).var",
        "g.x.var",
        "g.(Intercept).x.corr",
        "sigma_var",
        "g.gamma",
        "criterion",
        "distance",
        "step",
    ]
    assert (fit.trace["sigma_var"] == 1.0).all()
    assert fit.trace["criterion"].iloc[-1] == pytest.approx(fit.criterion, rel=1e-12)


def test_a_start_and_a_rule_of_the_user(data):
    formula = "count ~ x + (x | g)"
    plain = pm.mackay(formula, data, family="poisson")
    begun = pm.mackay(formula, data, family="poisson", start=[[0.2, 0.0], [0.0, 0.1]])
    assert begun.theta.to_numpy() == pytest.approx(plain.theta.to_numpy(), rel=1e-6)

    def em(term):
        return (term.predictions.T @ term.predictions + term.error_sum) / term.n_levels

    own = pm.mackay(formula, data, family="poisson", update=em, iterations=300, tolerance=1e-9)
    assert own.theta.to_numpy() == pytest.approx(plain.theta.to_numpy(), rel=1e-5)


@pytest.mark.parametrize("effects", ["mode", "mean"])
def test_a_variance_of_zero_is_an_estimate(effects):
    random = np.random.default_rng(5)
    data = pd.DataFrame({"y": random.poisson(3.0, 60), "g": np.repeat(np.arange(12), 5)})
    optimum = pm.glmer("y ~ 1 + (1 | g)", data, "poisson")
    fit = pm.mackay("y ~ 1 + (1 | g)", data, family="poisson", effects=effects)
    assert optimum.singular
    assert fit.singular
    assert fit.convergence.converged
    assert fit.criterion == pytest.approx(optimum.criterion, rel=tol("optimum"))
    assert "g: every variance is estimated as zero" in fit.messages


def test_the_literal_loop_collapses_and_says_so():
    random = np.random.default_rng(2)
    g = np.repeat(np.arange(40), 4)
    shift = 0.4 * random.normal(size=40)[g]
    data = pd.DataFrame({"y": (random.random(160) < 1 / (1 + np.exp(-shift))).astype(int), "g": g})
    with pytest.raises(pm.CollapseError, match="update='gamma'") as caught:
        pm.mackay("y ~ 1 + (1 | g)", data, family="binomial", update="raw")
    assert caught.value.term == "g"
    fit = pm.mackay("y ~ 1 + (1 | g)", data, family="binomial", update="raw", on_collapse="return")
    assert "collapsed" in fit.convergence.message


def test_a_fit_is_saved_and_read(data, tmp_path: Path):
    fit = pm.mackay("binary ~ x + (1 | g)", data, family="binomial")
    again = pm.load_fit(fit.save(tmp_path / "loop.fit"))
    assert again.general.method == fit.general.method
    assert again.trace is not None
    pd.testing.assert_series_equal(again.beta, fit.beta)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reml": True}, "no REML"),
        ({"inner": "gradient"}, "found exactly"),
        ({"solver": "iterative"}, "solver"),
        ({"effects": "modes"}, "effects"),
        ({"start_noise_var": 2.0}, "no dispersion"),
        ({"family": pm.NegativeBinomial()}, "effects='mean'"),
        ({"family": None, "effects": "mean"}, "for generalised models"),
        ({"start": [[1.0, 2.0]]}, "start"),
        ({"start": 0.0}, "singular"),
    ],
)
def test_what_is_refused(data, options, message):
    arguments = {"family": "poisson", **options}
    with pytest.raises(pm.ArgumentError, match=message):
        pm.mackay("count ~ x + (1 | g)", data, **arguments)


def test_separated_data_are_refused():
    data = pd.DataFrame({"y": [0, 0, 0, 1, 1, 1] * 4, "x": [0, 0, 0, 1, 1, 1] * 4})
    data["g"] = np.arange(24) // 3
    with pytest.raises(pm.SeparationError):
        pm.mackay("y ~ x + (1 | g)", data, family="binomial")
