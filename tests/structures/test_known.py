"""``propto(0 + f | g, A)``: a known matrix times one variance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm

HERDS = "y ~ x + propto(0 + animal | all, A) + (1 | herd)"


def relationship(n: int, founders: int, rng: np.random.Generator) -> np.ndarray:
    """Return the numerator relationship matrix of a random pedigree, by Henderson's rules."""
    A = np.eye(n)
    for i in range(founders, n):
        sire, dam = rng.choice(i, 2, replace=False)
        A[i, :i] = A[:i, i] = 0.5 * (A[sire, :i] + A[dam, :i])
        A[i, i] = 1.0 + 0.5 * A[sire, dam]
    return A


@pytest.fixture(scope="module")
def A() -> pd.DataFrame:
    """Return relationships of 40 animals, some inbred, in no order."""
    A = relationship(40, 8, np.random.default_rng(3))
    labels = [f"a{k:02d}" for k in range(40)]
    assert A.max() > 1.0
    return pd.DataFrame(A, index=labels, columns=labels).sample(frac=1, random_state=1)


@pytest.fixture(scope="module")
def data(A: pd.DataFrame) -> pd.DataFrame:
    """Return records of 34 of the animals in six herds."""
    rng = np.random.default_rng(4)
    labels = sorted(A.index)[6:]
    code, herd = rng.integers(0, 34, 120), rng.integers(0, 6, 120)
    code[:34] = np.arange(34)
    kin = A.loc[labels, labels].to_numpy()
    value = 1.5 * np.linalg.cholesky(kin) @ rng.normal(size=34)
    x = rng.normal(size=120)
    y = 2.0 + x + value[code] + 0.7 * rng.normal(size=6)[herd] + rng.normal(size=120)
    frame = {"y": y, "x": x, "animal": np.array(labels)[code], "herd": [f"h{k}" for k in herd]}
    return pd.DataFrame(frame).assign(all="all")


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame, A: pd.DataFrame) -> pm.Fit:
    return pm.lmer(HERDS, data, known={"A": A})


def dense(data: pd.DataFrame, A: pd.DataFrame, variances: list[float]) -> tuple[float, np.ndarray]:
    """Return the REML criterion and the predicted effects of the animals, n × n."""
    labels = sorted(set(data["animal"]))
    Z = pd.get_dummies(data["animal"])[labels].to_numpy(float)
    H = pd.get_dummies(data["herd"]).to_numpy(float)
    kin = A.loc[labels, labels].to_numpy()
    V = variances[0] * Z @ kin @ Z.T + variances[1] * H @ H.T + variances[2] * np.eye(len(data))
    X = np.column_stack([np.ones(len(data)), data["x"]])
    inverse, y = np.linalg.inv(V), data["y"].to_numpy()
    information = X.T @ inverse @ X
    residual = y - X @ np.linalg.solve(information, X.T @ inverse @ y)
    logs = np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
    criterion = logs + residual @ inverse @ residual + (len(y) - 2) * np.log(2.0 * np.pi)
    return float(criterion), variances[0] * kin @ Z.T @ inverse @ residual


def variances_of(fit: pm.Fit) -> list[float]:
    par = fit.par * fit.sigma
    return [par["all.*"] ** 2, par["herd.(Intercept)"] ** 2, fit.sigma**2]


def test_the_dense_likelihood_has_its_optimum_there(
    fit: pm.Fit, data: pd.DataFrame, A: pd.DataFrame
) -> None:
    variances = variances_of(fit)
    criterion, effects = dense(data, A, variances)
    assert fit.convergence.converged
    assert fit.criterion == pytest.approx(criterion, abs=tol("tight criterion"))
    np.testing.assert_allclose(fit.ranef["all"].to_numpy()[0], effects, rtol=tol("tight"))
    for k in range(3):
        for factor in (0.9, 0.999, 1.001, 1.1):
            changed = [v * factor if i == k else v for i, v in enumerate(variances)]
            assert dense(data, A, changed)[0] > fit.criterion
    labels = sorted(set(data["animal"]))
    np.testing.assert_allclose(
        fit.varcorr["all"].to_numpy(),
        variances[0] * A.loc[labels, labels].to_numpy(),
        rtol=tol("oracle"),
        atol=1e-12,  # elements that are zero
    )


def test_the_identity_is_the_ordinary_random_intercept(data: pd.DataFrame) -> None:
    labels = sorted(set(data["animal"]))
    eye = pd.DataFrame(np.eye(len(labels)), index=labels, columns=labels)
    ours = pm.lmer(HERDS, data, known={"A": eye})
    plain = pm.lmer("y ~ x + (1 | animal) + (1 | herd)", data)
    assert ours.criterion == pytest.approx(plain.criterion, abs=tol("tight criterion"))
    for ddf in ("Satterthwaite", "Kenward-Roger"):
        np.testing.assert_allclose(
            ours.coefficients(ddf=ddf), plain.coefficients(ddf=ddf), rtol=tol("tight")
        )
    np.testing.assert_allclose(
        ours.ranef["all"].to_numpy()[0], plain.ranef["animal"].to_numpy()[:, 0], rtol=tol("tight")
    )
    tests = ours.random_tests()["LRT"], plain.random_tests()["LRT"]
    np.testing.assert_allclose(sorted(tests[0][1:]), sorted(tests[1][1:]), rtol=tol("tight"))


def test_a_profile_is_that_of_the_ordinary_random_intercept() -> None:
    """A = 4 I, so that the parameter is half the standard deviation of the effects."""
    data = pm.load_data("Dyestuff").assign(one="one")
    A = pd.DataFrame(4.0 * np.eye(6), index=list("ABCDEF"), columns=list("ABCDEF"))
    ours = pm.lmer("Yield ~ 1 + propto(0 + Batch | one, A)", data, known={"A": A})
    plain = pm.lmer("Yield ~ 1 + (1 | Batch)", data).confint(long_names=True).to_numpy()
    plain = plain * [[0.5], [1.0], [1.0]]
    result = ours.confint(long_names=True)
    assert result.index.tolist() == ["sd_*|one", "sigma", "(Intercept)"]
    np.testing.assert_allclose(result.to_numpy(), plain, rtol=tol("profile"), atol=1e-8)
    profile = ours.profile("sd_*|one", max_zeta=1.0, points=3)
    assert profile.frame.loc[1, "value"] == pytest.approx(profile.estimates.iloc[0], rel=1e-6)


def test_what_follows_knows_the_matrix(
    fit: pm.Fit, data: pd.DataFrame, A: pd.DataFrame, tmp_path: Path
) -> None:
    again = pm.load_fit(fit.save(tmp_path / "a.fit"))
    pd.testing.assert_series_equal(again.par, fit.par)
    assert again.evaluate(fit.theta).criterion == pytest.approx(fit.criterion, abs=1e-9)
    assert pm.compare(fit, again).verdict == "same optimum"
    evaluated = pm.evaluate(HERDS, data, fit.theta, known={"A": A})
    assert evaluated.criterion == pytest.approx(fit.criterion, abs=1e-9)
    for update in ("gamma", "em"):
        loop = pm.mackay(HERDS, data, known={"A": A}, update=update)
        assert loop.criterion == pytest.approx(fit.criterion, abs=tol("tight criterion"))
    refitted = fit.refit(2.0 * data["y"])
    np.testing.assert_allclose(refitted.par.to_numpy(), fit.par.to_numpy(), rtol=tol("tight"))
    text = repr(fit)
    assert "(propto)" in text and "animala07" not in text
    assert fit.theta.index.tolist() == ["herd.(Intercept)", "all.*"]
    assert fit.par.index.tolist() == ["herd.(Intercept)", "all.*"]
    assert fit.drop1().index.tolist() == ["x"]


def test_another_matrix_is_another_model(fit: pm.Fit, data: pd.DataFrame, A: pd.DataFrame) -> None:
    eye = pd.DataFrame(np.eye(len(A)), index=A.index, columns=A.index)
    assert pm.compare(fit, pm.lmer(HERDS, data, known={"A": eye})).verdict == "different model"


def test_many_levels_take_no_fourth_power() -> None:
    """300 effects crossed with a random intercept: all pairs of elements would take 60 GiB."""
    rng = np.random.default_rng(5)
    labels = [f"a{k:03d}" for k in range(300)]
    A = pd.DataFrame(relationship(300, 20, rng), index=labels, columns=labels)
    code = np.concatenate([np.arange(300), rng.integers(0, 300, 150)])
    y = (np.linalg.cholesky(A) @ rng.normal(size=300))[code] + rng.normal(size=450)
    data = pd.DataFrame({"y": y, "x": rng.normal(size=450), "animal": np.array(labels)[code]})
    data = data.assign(all="all", herd=[f"h{k}" for k in rng.integers(0, 6, 450)])
    fit = pm.lmer(HERDS, data, known={"A": A})
    assert fit.convergence.converged
    assert fit.criterion == pytest.approx(
        dense(data, A, variances_of(fit))[0], abs=tol("tight criterion")
    )
    with pytest.raises(pm.ArgumentError, match=r"confint\('boot'\)"):
        fit.profile(".sigma")


@pytest.mark.parametrize(
    ("change", "error", "cure"),
    [
        (lambda A: None, pm.ArgumentError, r"known=\{'A': frame\}"),
        (lambda A: {"B": A}, pm.ArgumentError, "it has 'B'"),
        (lambda A: [A], pm.ArgumentError, "must be a mapping"),
        (lambda A: {"A": A.to_numpy()}, pm.ArgumentError, "must be a pandas.DataFrame"),
        (lambda A: {"A": A.drop(columns="a07")}, pm.ArgumentError, "other labels in its index"),
        (lambda A: {"A": A.drop(index="a07", columns="a07")}, pm.DataError, "no row for 1 .*'a07'"),
        (lambda A: {"A": A.rename(index={"a07": "a08"})}, pm.ArgumentError, "'a08' twice"),
        (lambda A: {"A": A.astype(str) + "x"}, pm.ArgumentError, "no numbers"),
        (lambda A: {"A": A * np.nan}, pm.ArgumentError, "all must be finite"),
        (lambda A: {"A": A - 5.0}, pm.ArgumentError, "not positive definite"),
        (lambda A: {"A": A.mul(np.arange(40), axis=0)}, pm.ArgumentError, "not symmetric"),
    ],
)
def test_a_wrong_matrix_is_refused_with_the_cure(
    change: object, error: type[Exception], cure: str, data: pd.DataFrame, A: pd.DataFrame
) -> None:
    assert callable(change)
    with pytest.raises(error, match=cure):
        pm.lmer(HERDS, data, known=change(A))


@pytest.mark.parametrize(
    ("term", "cure"),
    [
        ("propto(0 + animal | all)", "the name of a known matrix"),
        ("propto(0 + animal | all, 2)", "the name of a known matrix"),
        ("propto(0 + animal | all, hom = TRUE)", "the name of a known matrix"),
        ("propto(animal | all, A)", r"write propto\(0 \+ f"),
        ("propto(0 + x | all, A)", r"write propto\(0 \+ f"),
    ],
)
def test_a_wrong_term_is_refused_with_the_cure(
    term: str, cure: str, data: pd.DataFrame, A: pd.DataFrame
) -> None:
    with pytest.raises((pm.FormulaError, pm.DataError), match=cure):
        pm.lmer(f"y ~ x + {term}", data, known={"A": A})


def test_a_generalised_model_with_the_identity_is_the_ordinary_one() -> None:
    data = pm.load_data("cbpp").assign(one="one")
    levels = sorted(set(data["herd"].astype(str)), key=int)
    eye = pd.DataFrame(np.eye(len(levels)), index=levels, columns=levels)
    formula = "cbind(incidence, size - incidence) ~ period + "
    ours = pm.glmer(formula + "propto(0 + herd | one, A)", data, "binomial", known={"A": eye})
    plain = pm.glmer(formula + "(1 | herd)", data, "binomial")
    assert ours.criterion == pytest.approx(plain.criterion, abs=tol("tight criterion"))
    np.testing.assert_allclose(ours.beta, plain.beta, rtol=tol("tight"))
    np.testing.assert_allclose(ours.theta, plain.theta, rtol=tol("tight"))
    again = pm.evaluate_glmer(
        ours.formula, data, ours.theta, ours.beta, "binomial", known={"A": eye}
    )
    assert again.criterion == pytest.approx(ours.criterion, abs=tol("tight criterion"))
