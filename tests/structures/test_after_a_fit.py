"""Everything after a fit, for models with covariance structures."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.late import LateMethod

FORMULAS = {
    "diag": "Reaction ~ Days + diag(Days | Subject)",
    "cs": "Reaction ~ Days + cs(Days | Subject)",
    "ar1": "Reaction ~ Days + ar1(0 + Dayf | Subject)",
    "ar1 het": "Reaction ~ Days + ar1(0 + Dayf | Subject, hom = FALSE)",
    "rr": "Reaction ~ Days + rr(Days | Subject, d = 1)",
    "fa": "Reaction ~ Days + fa(0 + Third | Subject)",
    "two terms": "Reaction ~ Days + (1 | Subject) + diag(0 + Days | Subject, hom = TRUE)",
}


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    data = pm.load_data("sleepstudy")
    days = data["Days"].astype(int)
    return data.assign(
        Dayf=pd.Categorical(days.astype(str)),
        Third=pd.Categorical((days // 4).map(["early", "mid", "late"].__getitem__)),
    )


@pytest.fixture(scope="module")
def fits(sleep: pd.DataFrame) -> dict[str, pm.Fit]:
    return {name: pm.lmer(formula, sleep) for name, formula in FORMULAS.items()}


def calls(fit: pm.Fit, data: pd.DataFrame, folder: Path) -> dict[str, Callable[[], object]]:
    """Return a call of each public method of a fit."""
    few = data.iloc[:12]
    return {
        "__repr__": fit.__repr__,
        "_repr_html_": fit._repr_html_,
        "_shaken": lambda: list(fit._shaken()),
        "anova": fit.anova,
        "augment": fit.augment,
        "bootstrap": lambda: fit.bootstrap(2, seed=1),
        "coef": fit.coef,
        "coefficients": fit.coefficients,
        "condvar_error": fit.condvar_error,
        "confint": lambda: fit.confint("wald"),
        "contrast": lambda: fit.contrast([0.0, 1.0], ddf="Kenward-Roger"),
        "drop1": fit.drop1,
        "effects_of": lambda: fit.effects_of(few),
        "glance": fit.glance,
        "influence": lambda: fit.influence("Subject"),
        "model_matrix": lambda: fit.model_matrix(few, part="random"),
        "power": lambda: fit.power("Days", nsim=2, seed=1),
        "predict": lambda: fit.predict(few, interval="prediction"),
        "profile": lambda: fit.profile("Days", max_zeta=0.5, points=3),
        "random_effects_pca": lambda: str(fit.random_effects_pca()),
        "random_tests": fit.random_tests,
        "refit": lambda: fit.refit(data["Reaction"]),
        "residuals_of": lambda: fit.residuals_of("response"),
        "save": lambda: pm.load_fit(fit.save(folder / "a.fit")),
        "simulate": lambda: fit.simulate(2, seed=1),
        "summary": lambda: str(fit.summary()),
        "tidy": fit.tidy,
        "variance_test": lambda: fit.variance_test(fit.model.terms[0].name),
    }


def test_every_method_has_a_call(fits: dict[str, pm.Fit], sleep: pd.DataFrame) -> None:
    methods = {name for name, value in vars(pm.Fit).items() if isinstance(value, LateMethod)}
    of_generalised_models = {"_at_modes_of", "_at_parameters_of", "_separation"}
    assert set(calls(fits["cs"], sleep, Path())) == methods - of_generalised_models


def test_a_structured_term_is_left_out_as_a_whole(sleep: pd.DataFrame) -> None:
    fit = pm.lmer("Reaction ~ Days + (1 | Subject) + ar1(0 + Dayf | Subject, hom = TRUE)", sleep)
    tests = fit.random_tests()
    plain = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    row = tests.loc["ar1(0 + Dayf | Subject)"]
    assert row["LRT"] == pytest.approx(plain.criterion - fit.criterion, rel=1e-8)
    assert row["Df"] == 2.0 and np.isnan(row["Pr(>Mixture)"])


@pytest.mark.parametrize("name", FORMULAS)
def test_every_method_answers_or_says_what_to_do(
    name: str, fits: dict[str, pm.Fit], sleep: pd.DataFrame, tmp_path: Path
) -> None:
    refused = set()
    for method, call in calls(fits[name], sleep, tmp_path).items():
        try:
            call()
        except pm.PymackayError as error:
            assert len(str(error)) > 40
            refused.add(method)
    assert refused <= {"variance_test"}


@pytest.mark.parametrize("ddf", ["Satterthwaite", "Kenward-Roger"])
@pytest.mark.parametrize(
    ("data", "structured", "plain"),
    [
        (
            "Pastes",
            "strength ~ 1 + cs(0 + cask | batch, hom = TRUE)",
            "strength ~ 1 + (1 | batch/cask)",
        ),
        (
            "Machines",
            "score ~ Machine + cs(0 + Machine | Worker, hom = TRUE)",
            "score ~ Machine + (1 | Worker/Machine)",
        ),
        (
            "sleepstudy",
            "Reaction ~ Days + diag(Days | Subject)",
            "Reaction ~ Days + (Days || Subject)",
        ),
        (
            "sleepstudy",
            "Reaction ~ Days + cs(Days | Subject)",
            "Reaction ~ Days + (Days | Subject)",
        ),
    ],
)
def test_degrees_of_freedom_are_those_of_the_same_model_without_a_structure(
    data: str, structured: str, plain: str, ddf: str
) -> None:
    """Pbkrtest 0.5.5 takes a structure for unstructured, and is wrong here."""
    table = pm.load_data(data)
    ours, expected = (pm.lmer(formula, table) for formula in (structured, plain))
    np.testing.assert_allclose(
        ours.coefficients(ddf=ddf).to_numpy(),
        expected.coefficients(ddf=ddf).to_numpy(),
        rtol=tol("oracle"),
        atol=1e-12,
    )


def test_profiles_are_those_of_the_same_model_without_a_structure(
    fits: dict[str, pm.Fit], sleep: pd.DataFrame
) -> None:
    for name, plain in (("diag", "(Days || Subject)"), ("cs", "(Days | Subject)")):
        expected = pm.lmer(f"Reaction ~ Days + {plain}", sleep).confint(long_names=True)
        ours = fits[name].confint(long_names=True)
        labels = {"cor_rho|Subject": "cor_Days.(Intercept)|Subject"}
        matched = expected.loc[[labels.get(label, label) for label in ours.index]]
        np.testing.assert_allclose(ours.to_numpy(), matched.to_numpy(), rtol=tol("profile"))


def test_a_profile_of_a_correlation_ends_where_the_deviance_has_risen(
    fits: dict[str, pm.Fit], sleep: pd.DataFrame
) -> None:
    """The other parameters are minimised over a grid of starts by an independent search."""
    profile = fits["ar1"].profile("cor_rho|Subject", max_zeta=1.0, points=3)
    ml = pm.lmer(FORMULAS["ar1"], sleep, reml=False)
    assert profile.frame["zeta"].tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-6)
    for rho, zeta in zip(profile.frame["value"], profile.frame["zeta"], strict=True):
        lowest = min(_criterion(ml, sd, rho) for sd in np.linspace(2.0, 5.0, 61))
        assert ml.criterion + zeta**2 <= lowest + tol("tight criterion")
        assert lowest - ml.criterion - zeta**2 < 0.01


def _criterion(fit: pm.Fit, sd: float, rho: float) -> float:
    """Return the criterion of a hom ar1 with ten effects at a relative sd and a correlation."""
    powers = sd * rho ** np.arange(10)
    second = sd * np.sqrt(1.0 - rho**2) * rho ** np.arange(9)
    return fit.evaluate(np.concatenate([powers, second])).criterion


@pytest.mark.parametrize("rows", [True, False])
def test_a_saved_fit_comes_back(fits: dict[str, pm.Fit], rows: bool, tmp_path: Path) -> None:
    for name, fit in fits.items():
        again = pm.load_fit(fit.save(tmp_path / "a.fit", rows=rows))
        pd.testing.assert_series_equal(again.par, fit.par)
        assert again.model.terms == fit.model.terms
        expected = fit.coefficients().to_numpy()
        np.testing.assert_allclose(again.coefficients().to_numpy(), expected, rtol=tol("oracle"))
        assert again.df == fit.df, name


def test_a_double_bar_read_as_diagonal_is_saved_so(sleep: pd.DataFrame, tmp_path: Path) -> None:
    fit = pm.lmer("Reaction ~ Days + (Days || Subject)", sleep, double_bar="diag")
    assert [term.structure for term in fit.model.terms] == ["diag"]
    assert any("double_bar" in message for message in fit.messages)
    again = pm.load_fit(fit.save(tmp_path / "a.fit"))
    assert again.predict(sleep).equals(fit.predict(sleep))
    with pytest.raises(pm.ArgumentError, match="double_bar"):
        pm.lmer("Reaction ~ Days + (Days || Subject)", sleep, double_bar="diag_special")


def test_a_fit_is_pickled_and_refitted(fits: dict[str, pm.Fit], sleep: pd.DataFrame) -> None:
    fit = fits["ar1"]
    again = pickle.loads(pickle.dumps(fit)).refit(2.0 * sleep["Reaction"] + 1.0)
    np.testing.assert_allclose(again.par.to_numpy(), fit.par.to_numpy(), rtol=tol("tight"))
    assert again.sigma == pytest.approx(2.0 * fit.sigma, rel=tol("tight"))


def test_a_start_is_theta_or_par(fits: dict[str, pm.Fit], sleep: pd.DataFrame) -> None:
    fit = fits["ar1"]
    for start in (fit.theta, fit.par, fit.theta.to_numpy(), fit.par.tolist()):
        again = pm.lmer(FORMULAS["ar1"], sleep, start=start)
        assert again.criterion == pytest.approx(fit.criterion, abs=tol("tight criterion"))
        assert again.convergence.evaluations <= 2
    wrong = fit.theta.to_numpy().copy()
    wrong[3] *= 2.0
    with pytest.raises(pm.ArgumentError, match="not the factor of a covariance matrix"):
        fit.evaluate(wrong)


def test_simulated_effects_have_the_structure(fits: dict[str, pm.Fit]) -> None:
    fit = fits["ar1"]
    drawn = fit.simulate(4000, seed=3).to_numpy() - fit.predict(re_form="NA").to_numpy()[:, None]
    by_subject = drawn.reshape(18, 10, -1).transpose(0, 2, 1).reshape(-1, 10)
    expected = fit.varcorr["Subject"].to_numpy() + fit.sigma**2 * np.eye(10)
    spread = np.sqrt(2.0 / len(by_subject)) * expected[0, 0]
    assert np.abs(by_subject.T @ by_subject / len(by_subject) - expected).max() < 5.0 * spread


def test_parameters_are_printed_once_with_the_structure(fits: dict[str, pm.Fit]) -> None:
    """The lines are those of lme4 2.1's ``print(VarCorr(m))``, with variances besides."""
    summary = str(fits["ar1"].summary())
    assert " Subject  Dayf0 2241.1   47.34    0.883 (ar1)\n Residual" in summary
    assert "0.883 (ar1)" in repr(fits["ar1"]) and "Dayf1" not in repr(fits["ar1"])
    het = " ".join(repr(fits["ar1 het"]).split())  # whatever the widths of the columns
    assert "35.0971 0.817 (ar1)" in het and "64.9732" in het
    labels = fits["ar1"].bootstrap(2, seed=1).replicates.columns
    assert list(labels)[:3] == ["sd_*|Subject", "cor_rho|Subject", "sigma"]


def test_comparison_tells_structures_apart(fits: dict[str, pm.Fit], sleep: pd.DataFrame) -> None:
    same = pm.compare(fits["diag"], pm.lmer(FORMULAS["diag"], sleep))
    assert same.ok and same.verdict == "same optimum"
    other = pm.compare(fits["diag"], pm.lmer("Reaction ~ Days + (Days | Subject)", sleep))
    assert other.verdict == "different model"
    assert "diag((Intercept), Days | Subject)" in str(other)


def test_residues_of_a_shared_variance_sum_to_zero(sleep: pd.DataFrame) -> None:
    fit = pm.lmer("Reaction ~ Days + cs(0 + Dayf | Subject, hom = TRUE)", sleep, reml=False)
    gap = pm.variance_gap(fit)
    assert abs(gap["residue"].sum()) < tol("variance gap") * gap["variance"].sum() * 10
    assert gap["residue"].abs().max() > 1.0


def test_many_responses_have_their_own_structured_fits(
    fits: dict[str, pm.Fit], sleep: pd.DataFrame
) -> None:
    Y = np.column_stack([sleep["Reaction"], np.log(sleep["Reaction"])])
    many = pm.lmer_many("~ Days + ar1(0 + Dayf | Subject)", sleep, Y)
    logs = pm.lmer("log(Reaction) ~ Days + ar1(0 + Dayf | Subject)", sleep)
    expected = [fits["ar1"].criterion, logs.criterion]
    np.testing.assert_allclose(many.criterion, expected, rtol=tol("criterion"))
    table = many.to_frame()
    assert table["cor_rho|Subject"].iloc[1] == pytest.approx(logs.par.iloc[1], rel=tol("tight"))
