"""`bootstrap` and `power`: against single refits, lme4's bootMer, R's boot, and closed forms."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table
from oracle import random_design
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay._resources import r_reference_path
from pymackay.infer.intervals.bootstrap import Bootstrap
from pymackay.infer.intervals.bootstrap_draws import residual_draws

SIX_SIGMA = 6.0  # standard errors: no draw of a correct program goes there


@pytest.fixture(scope="module")
def fit() -> pm.Fit:
    return pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))


@pytest.fixture(scope="module")
def weighted() -> pm.Fit:
    return pm.lmer("y ~ x + (x | g) + (1 | h)", crossed_table(), weights="w", offset="o")


def test_replicates_are_the_refits_of_simulated_responses(fit: pm.Fit) -> None:
    result = fit.bootstrap(4, seed=2)
    drawn = fit.simulate(4, seed=2)
    assert result.estimate.index.equals(result.replicates.columns)
    for k in range(4):
        one = fit.refit(drawn.iloc[:, k])
        V = one.varcorr["Subject"].to_numpy()
        sd = np.sqrt(np.diag(V))
        expected = [sd[0], V[1, 0] / sd[0] / sd[1], sd[1], one.sigma, *one.beta]
        np.testing.assert_allclose(result.replicates.iloc[k], expected, rtol=tol("invariance"))
        assert result.singular[k] == one.singular


@pytest.mark.parametrize("kind", ["parametric", "residual"])
def test_seeds(fit: pm.Fit, kind: str) -> None:
    one = fit.bootstrap(3, kind=kind, seed=4).replicates
    pd.testing.assert_frame_equal(one, pm.bootstrap(fit, 3, kind=kind, seed=4).replicates)
    generator = np.random.default_rng(4)
    first = fit.bootstrap(3, kind=kind, seed=generator).replicates
    pd.testing.assert_frame_equal(one, first)
    assert not fit.bootstrap(3, kind=kind, seed=generator).replicates.equals(first)


def _recorded() -> list[Any]:
    result = []
    for data in ("Dyestuff", "Penicillin", "sleepstudy"):
        answer = json.loads(r_reference_path("bootstrap", f"{data}.json").read_text("utf-8"))
        result += [pytest.param(data, case, id=name) for name, case in answer["cases"].items()]
    return result


@pytest.mark.parametrize(("data", "case"), _recorded())
def test_lme4s_boot_mer(data: str, case: dict[str, Any]) -> None:
    """Where R puts 2.5 % of its draws, 2.5 % of ours are, but for both Monte-Carlo errors."""
    crossed = case["formula"].count("|") > 1
    nsim = 40 if crossed else 2000
    fit = pm.lmer(case["formula"], pm.load_data(data), reml=case["reml"])
    result = fit.bootstrap(nsim, seed=6, use_u=case["use_u"])
    assert result.replicates.columns.tolist() == case["parameters"]
    np.testing.assert_allclose(result.estimate, case["estimate"], rtol=tol("lme4 stops"))
    noise = np.sqrt(1.0 / nsim + 1.0 / case["nsim"])
    for k, (name, t) in enumerate(result.replicates.items()):
        t = t.dropna().to_numpy()
        slack = 1e-3 * case["sd"][k]  # draws pile up at bounds, which R reaches but nearly
        for end, share in ((case["lower"][k], 0.025), (case["upper"][k], 0.975)):
            error = SIX_SIGMA * noise * np.sqrt(share * (1.0 - share))
            assert np.mean(t < end - slack) < share + error, name
            assert np.mean(t <= end + slack) > share - error, name
        assert abs(t.mean() - case["mean"][k]) < SIX_SIGMA * noise * case["sd"][k], name
        spread = np.sqrt(stats.kurtosis(t, fisher=False) + 1.0) / 2.0
        assert abs(t.std() / case["sd"][k] - 1.0) < SIX_SIGMA * noise * spread, name
    p = case["singular"]
    assert abs(result.n_singular / nsim - p) < SIX_SIGMA * noise * np.sqrt(p * (1 - p)) + 1 / nsim


def _covariance(fit: pm.Fit) -> np.ndarray:
    """Return the marginal variances of the response, shape (n,)."""
    model = fit.problem.model
    blocks = [
        np.kron(np.eye(len(model.factors[t.group].levels)), fit.varcorr[t.name])
        for t in model.terms
    ]
    Z, start, total = random_design(model), 0, np.zeros(len(model.y))
    for block in blocks:
        own = Z[:, start : start + len(block)]
        total += np.einsum("ni,ij,nj->n", own, block, own)
        start += len(block)
    noise = 1.0 if model.weights is None else 1.0 / model.weights
    return total + fit.sigma**2 * noise


def _check_moments(drawn: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
    count = drawn.shape[1]
    away = drawn - mean[:, None]
    assert np.abs(away.mean(axis=1) / np.sqrt(variance / count)).max() < SIX_SIGMA
    error = (away**2).std(axis=1) / np.sqrt(count)
    assert np.abs(((away**2).mean(axis=1) - variance) / error).max() < SIX_SIGMA


def test_residual_draws_have_the_moments_of_the_model(weighted: pm.Fit) -> None:
    model = weighted.problem.model
    drawn = residual_draws(weighted, use_u=False)(4000, np.random.default_rng(3))
    _check_moments(drawn, model.X @ weighted.beta + model.offset, _covariance(weighted))


def test_residual_draws_that_keep_the_effects(weighted: pm.Fit) -> None:
    drawn = residual_draws(weighted, use_u=True)(4000, np.random.default_rng(3))
    variance = weighted.sigma**2 / weighted.problem.model.weights
    _check_moments(drawn, weighted.fitted.to_numpy(), variance)


def test_residual_draws_take_values_that_were_there() -> None:
    fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    drawn = residual_draws(fit, use_u=False)(50, np.random.default_rng(1))
    b = fit.ranef["Batch"]["(Intercept)"].to_numpy()
    e = fit.residuals.to_numpy()
    b = (b - b.mean()) / b.std() * np.sqrt(fit.varcorr["Batch"].iloc[0, 0])
    e = (e - e.mean()) / e.std() * fit.sigma
    possible = np.sort((fit.beta.iloc[0] + b[:, None] + e).ravel())
    place = np.searchsorted(possible, drawn - 1e-6)
    np.testing.assert_allclose(possible[place], drawn, rtol=1e-9)


@pytest.mark.parametrize("kind", ["parametric", "residual"])
def test_singular_fits(kind: str) -> None:
    zero = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2"))
    result = zero.bootstrap(50, kind=kind, seed=1)
    assert result.n_unconverged == 0
    assert result.n_singular == np.count_nonzero(result.replicates["sd_(Intercept)|Batch"] == 0.0)
    data = crossed_table()
    line = pm.evaluate("y ~ x + (x | g)", data, [1.0, 0.5, 0.0])
    drawn = residual_draws(line, use_u=False)(2000, np.random.default_rng(1))
    _check_moments(drawn, line.problem.model.X @ line.beta, _covariance(line))


def test_effects_that_cannot_be_rescaled() -> None:
    data = crossed_table()
    data["two"] = np.where(data["g"] < "g4", "a", "b")
    fit = pm.evaluate("y ~ 1 + (x | two)", data, [1.0, 0.0, 1.0])
    with pytest.raises(pm.PymackayError, match="'two' \\(2 levels\\) do not vary in every"):
        fit.bootstrap(10, kind="residual")


SAMPLE = [3.1, -0.4, 2.2, 5.9, 1.7, 0.3, 4.4, 2.8, 3.6, 1.1, 2.5]
SAMPLE += [0.9, 6.3, -1.2, 3.3, 2.0, 1.4, 4.9, 2.7, 3.8, 0.1]


@pytest.mark.parametrize(
    ("method", "level", "ends"),  # boot 1.3-28's boot.ci on SAMPLE with t0 = 2.4
    [
        ("percentile", 0.8, (-0.287516819316558, 5.67503363863312)),
        ("percentile", 0.9, (-1.096989643710826, 6.24849482185541)),
        ("basic", 0.8, (-0.875033638633117, 5.08751681931656)),
        ("basic", 0.9, (-1.448494821855411, 5.89698964371083)),
        ("norm", 0.8, (-0.190657541314359, 4.89541944607626)),
        ("norm", 0.9, (-0.911573618229233, 5.61633552299114)),
    ],
)
def test_intervals_are_those_of_rs_boot(method: str, level: float, ends: Any) -> None:
    result = Bootstrap(
        formula="",
        kind="parametric",
        estimate=pd.Series({"a": 2.4}),
        replicates=pd.DataFrame({"a": [*SAMPLE, np.nan]}),
        converged=np.ones(22, dtype=bool),
        singular=np.zeros(22, dtype=bool),
    )
    np.testing.assert_allclose(result.confint(level, method).loc["a"], ends, rtol=1e-13)
    assert "1 refits lack a parameter" in result.confint(level, method).messages[0]


def test_what_a_bootstrap_tells(fit: pm.Fit) -> None:
    result = fit.bootstrap(30, seed=1)
    table = result.confint()
    assert table.columns.tolist() == ["2.5 %", "97.5 %"]
    assert "take at least 39" in repr(table)
    assert "Parametric bootstrap of Reaction ~ Days + (Days | Subject): 30 refits" in repr(result)
    np.testing.assert_allclose(result.bias + result.estimate, result.replicates.mean())
    np.testing.assert_allclose(result.std_error, result.replicates.std(ddof=1))
    assert not fit.bootstrap(50, seed=1).confint(0.9).messages


def _icc(table: pd.DataFrame) -> pd.Series:
    between = table["sd_(Intercept)|Subject"] ** 2
    return between / (between + table["sigma"] ** 2)


@pytest.mark.parametrize(
    ("statistic", "names"),
    [
        (lambda t: _icc(t).rename("icc"), ["icc"]),
        (_icc, ["statistic"]),
        (lambda t: _icc(t).to_numpy(), ["statistic"]),
        (lambda t: np.column_stack([_icc(t), t["criterion"]]), ["0", "1"]),
        (lambda t: pd.DataFrame({"icc": _icc(t), "ok": t["converged"]}), ["icc", "ok"]),
    ],
)
def test_statistics(fit: pm.Fit, statistic: Any, names: list[str]) -> None:
    result = fit.bootstrap(20, statistic=statistic, seed=3)
    assert result.replicates.columns.tolist()[6:] == names
    np.testing.assert_allclose(result.replicates[names[0]], _icc(result.replicates))
    V = fit.varcorr["Subject"].iloc[0, 0]
    assert result.estimate[names[0]] == pytest.approx(V / (V + fit.sigma**2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nsim": 1}, "nsim is 1"),
        ({"nsim": 10.0}, "nsim is 10.0"),
        ({"kind": "cases"}, "kind must be one of 'parametric', 'residual'"),
        ({"use_u": "yes"}, "use_u must be True or False"),
        ({"seed": "today"}, "seed is 'today'"),
        ({"statistic": lambda t: 1.0}, "one value, or one row, for each of its 5 rows"),
        ({"statistic": lambda t: t["sigma"]}, "under names of its own"),
    ],
)
def test_what_cannot_be_drawn(fit: pm.Fit, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(pm.ArgumentError, match=message):
        fit.bootstrap(**{"nsim": 5, "seed": 1, **arguments})


def test_intervals_that_cannot_be_made(fit: pm.Fit) -> None:
    result = fit.bootstrap(5, seed=1)
    with pytest.raises(pm.ArgumentError, match="method must be one of 'percentile'"):
        result.confint(method="bca")
    with pytest.raises(pm.ArgumentError, match="level must be a number between 0 and 1"):
        result.confint(95)
    with pytest.raises(pm.PymackayError, match="bootstrap needs the model's own arrays"):
        fit.replace(problem=None).bootstrap(5)


def _trial() -> pm.Fit:
    """A balanced trial within 12 groups, all that matters known: sigma 1, groups' sd 3."""
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(12), 6)
    data = pd.DataFrame({"g": [f"g{k:02}" for k in g], "x": np.tile([-1.0, 1.0], 36)})
    data["y"] = 3.0 * rng.normal(size=12)[g] + rng.normal(size=72)
    fit = pm.evaluate("y ~ x + (1 | g)", data, [3.0])
    return fit.replace(sigma=1.0)


def test_power_in_closed_form() -> None:
    sizes, nsim, df = [0.0, 0.2, 0.4], 3000, 72 - 12 - 1
    result = pm.power(_trial(), "x", sizes, nsim=nsim, test="t", df=df, seed=5)
    critical = stats.t.isf(0.025, df)
    for size, (_, row) in zip(sizes, result.iterrows(), strict=True):
        shift = size * np.sqrt(72.0)
        true = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)
        assert abs(row["power"] - true) < SIX_SIGMA * np.sqrt(true * (1.0 - true) / nsim)
        ends = stats.beta.ppf(
            [0.025, 0.975],
            [row["significant"], row["significant"] + 1],
            [nsim - row["significant"] + 1, nsim - row["significant"]],
        )
        np.testing.assert_allclose([row["lower"], row["upper"]], ends, rtol=1e-9)


@pytest.mark.parametrize("test", ["z", "lr"])
def test_power_is_the_share_of_single_studies(test: str) -> None:
    fit, nsim = _trial(), 60
    result = fit.power("x", [0.1, 0.35], nsim=nsim, test=test, seed=9, alpha=0.1)
    data = fit.problem.model.given["data"]
    for size, hits in zip(result["size"], result["significant"], strict=True):
        planned = fit.replace(beta=fit.beta.copy().where(fit.beta.index != "x", size))
        seed = np.random.default_rng(9)
        Y = planned.simulate(nsim, seed=int(seed.integers(2**63)) if test == "lr" else seed)
        if test == "z":
            many = pm.lmer_many("~ x + (1 | g)", data, Y)
            z = many.beta[:, 1] / many.std_error[:, 1]
            assert hits == np.count_nonzero(np.abs(z) > stats.norm.isf(0.05))
        else:
            full = pm.lmer_many("~ x + (1 | g)", data, Y, reml=False)
            null = pm.lmer_many("~ 1 + (1 | g)", data, Y, reml=False)
            ratio = null.criterion - full.criterion
            assert hits == np.count_nonzero(ratio > stats.chi2.isf(0.1, 1))
    assert 0 < result["significant"].iloc[0] < result["significant"].iloc[1] <= nsim


def test_power_by_default_is_that_of_the_exact_test() -> None:
    # wards within arms, balanced: the t test of the ward means has 8 degrees of freedom
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(10), 6)
    data = pd.DataFrame({"g": [f"g{k}" for k in g], "x": np.where(g < 5, 0.0, 1.0)})
    data["y"] = 3.0 * rng.normal(size=10)[g] + rng.normal(size=60)
    fit, nsim = pm.evaluate("y ~ x + (1 | g)", data, [3.0]), 1000
    sizes = np.array([0.0, 5.0])
    result = pm.power(fit.replace(sigma=1.0), "x", sizes, nsim=nsim, seed=3)
    critical = stats.t.isf(0.025, 8)
    shift = sizes / np.sqrt(2.0 * (9.0 + 1.0 / 6.0) / 5.0)
    true = stats.nct.sf(critical, 8, shift) + stats.nct.cdf(-critical, 8, shift)
    within = SIX_SIGMA * np.sqrt(true * (1.0 - true) / nsim)
    assert (np.abs(result["power"] - true) < within).all()


def test_power_by_satterthwaite_is_the_share_of_single_studies() -> None:
    fit, nsim = _trial(), 12
    result = fit.power("x", [0.1, 0.35], nsim=nsim, seed=9, alpha=0.1)
    for size, hits in zip(result["size"], result["significant"], strict=True):
        planned = fit.replace(beta=fit.beta.copy().where(fit.beta.index != "x", size))
        Y = planned.simulate(nsim, seed=np.random.default_rng(9))
        p = [fit.refit(Y[name]).coefficients().loc["x", "Pr(>|t|)"] for name in Y]
        assert hits == np.count_nonzero(np.array(p) < 0.1)
    assert result["significant"].nunique() == 2


def test_power_of_the_estimate(fit: pm.Fit) -> None:
    result = pm.power(fit, "Days", nsim=50, seed=1)
    assert result["size"].tolist() == [fit.beta["Days"]]
    assert result["effect"].tolist() == ["Days"]
    assert "Satterthwaite t test at level 0.05" in repr(result)
    assert "Wald z test at level 0.05" in repr(pm.power(fit, "Days", nsim=2, test="z"))
    pd.testing.assert_frame_equal(result, pm.power(fit, "Days", nsim=50, seed=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"effect": "Hours"}, r"the fixed effects are \(Intercept\), Days"),
        ({"sizes": "large"}, "sizes is 'large'"),
        ({"sizes": []}, "sizes is"),
        ({"sizes": [1.0, np.nan]}, "sizes is"),
        ({"alpha": 5}, r"alpha must be a number between 0 and 1.*5"),
        ({"test": "F"}, "test must be one of 'satterthwaite', 'z', 't', 'lr'"),
        ({"test": "t"}, "give degrees of freedom with test='t'"),
        ({"df": 17}, "and only then"),
        ({"test": "t", "df": -1}, "a positive number"),
        ({"nsim": 0}, "nsim is 0"),
    ],
)
def test_what_has_no_power(fit: pm.Fit, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(pm.ArgumentError, match=message):
        pm.power(fit, **{"effect": "Days", **arguments})
