"""MacKay's loop: the article's digits, every rule by hand, the optimum, the collapse."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import dense_fit
from small_models import crossed_model, sleepstudy_model
from tolerances import tol

import pymackay as pm
from pymackay.model.model import Model
from pymackay.model.sums.gram import cross_products
from pymackay.results import Fit
from pymackay.solve.assemble import Problem
from pymackay.solve.descent.step_rules import Adam
from pymackay.solve.exact.solver import Exact
from pymackay.solve.loop import rules
from pymackay.solve.loop.acceleration import Anderson
from pymackay.solve.loop.linear import LinearEquations
from pymackay.solve.loop.rounds import State, TermMoments, solve_round
from pymackay.solve.loop.rules.majorised import majorised_root
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.loop.run import fit_of, run_loop
from pymackay.solve.loop.settings import make_settings, starting_state
from pymackay.solve.loop.terms import TermRound
from pymackay.solve.search.limits import LEVEL
from pymackay.solve.search.points import rounding

SLEEP = "Reaction ~ Days + (Days | Subject)"
DIAGONAL_START = np.array([[410.0, 10.0], [10.0, 22.0]])

# scalar, correlated, uncorrelated, nested, crossed; inside and on the boundary
FORMULAS = [
    ("sleepstudy", SLEEP),
    ("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
    ("sleepstudy", "Reaction ~ 1 + (Days | Subject)"),
    ("sleepstudy", "Reaction ~ Days + (0 + Days | Subject)"),
    ("Dyestuff", "Yield ~ 1 + (1 | Batch)"),
    ("Dyestuff2", "Yield ~ 1 + (1 | Batch)"),
    ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    ("Penicillin", "diameter ~ 1 + (1 | sample)"),
    ("Pastes", "strength ~ 1 + (1 | batch / cask)"),
    ("Pastes", "strength ~ 1 + (1 | batch) + (1 | sample)"),
    ("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
    ("cake", "angle ~ temp + (temp | replicate)"),
    ("cake", "angle ~ recipe + temp + (1 | replicate) + (1 | recipe:replicate)"),
    ("Orthodont", "distance ~ age + (age | Subject)"),
    ("Orthodont", "distance ~ age * Sex + (age || Subject)"),
    ("Oxboys", "height ~ age + (age | Subject)"),
    ("Oxboys", "height ~ age + I(age^2) + (age + I(age^2) | Subject)"),
    ("Machines", "score ~ Machine + (Machine | Worker)"),
    ("Machines", "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)"),
    ("Rail", "travel ~ 1 + (1 | Rail)"),
    ("Oats", "yield ~ nitro + (1 | Block / Variety)"),
    ("Oats", "yield ~ nitro + (nitro | Block)"),
    ("Pixel", "pixel ~ day + I(day^2) + (day | Dog) + (1 | Side:Dog)"),
    ("VerbAgg", "Anger ~ Gender + (1 | item)"),
    ("VerbAgg", "Anger ~ Gender + (btype | item)"),
]


def problem_of(model: Model, *, reml: bool = True) -> Problem:
    return Problem(model, Exact(cross_products(model), reml))


def relative_errors(ours: Fit, reference: Fit) -> float:
    """Largest difference of an element of varcorr, in units of √(V_ii V_jj), and of σ²."""
    errors = [abs(ours.sigma**2 / reference.sigma**2 - 1.0)]
    for name, expected in reference.varcorr.items():
        sd = np.sqrt(np.diag(expected))
        unit = np.outer(np.where(sd > 0, sd, ours.sigma), np.where(sd > 0, sd, ours.sigma))
        found = ours.varcorr[name].loc[expected.index, expected.columns]
        errors.append(float((np.abs(found - expected) / unit).to_numpy().max()))
    return max(errors)


def article_loop(update: str, **arguments: object) -> Fit:
    data = pm.load_data("sleepstudy")
    noise_var = data["Reaction"].var(ddof=0) / 4
    return pm.mackay(
        SLEEP, data, update=update, start=DIAGONAL_START, start_noise_var=noise_var, **arguments
    )


class TestArticle:
    def test_every_printed_digit_of_the_diagonal_run(self) -> None:
        fit = article_loop("diagonal", iterations=100)
        variances = np.diag(fit.varcorr["Subject"])
        assert variances == pytest.approx([302.9045408, 31.08902388], abs=5e-8)
        assert fit.sigma**2 == pytest.approx(670.8546961, abs=5e-8)
        assert fit.beta.to_list() == pytest.approx([251.40510485, 10.46728596], abs=5e-9)
        effects = fit.ranef["Subject"].loc[["308", "309"]].to_numpy()
        expected = [[2.013963, 9.147986], [-32.683526, -9.633964]]
        assert np.abs(effects - expected).max() <= tol("printed")

    def test_the_raw_run_collapses_along_the_path_of_correlations(self) -> None:
        with pytest.raises(pm.CollapseError) as caught:
            article_loop("raw")
        error = caught.value
        assert (error.term, error.iteration) == ("Subject", 8)
        assert error.correlation == pytest.approx(1.0, abs=1e-7)
        assert "0.49, 0.66, 0.82, 0.94, 0.994, 0.99993, 0.999999993, 1." in str(error)
        assert "2.697" in str(error)
        assert set(error.direction) == {"(Intercept)", "Days"}

    def test_the_direction_named_is_the_one_that_does_not_vary(self) -> None:
        with pytest.raises(pm.CollapseError) as caught:
            article_loop("raw")
        fit = article_loop("raw", on_collapse="return")
        V = fit.varcorr["Subject"]
        weights = pd.Series(caught.value.direction)[V.index]
        spread = float(np.sum(weights**2 * np.diag(V)))
        assert float(weights @ V @ weights) < 1e-7 * spread

    def test_returned_instead_of_raised(self) -> None:
        fit = article_loop("raw", on_collapse="return")
        assert len(fit.trace) == 8
        assert not fit.convergence.converged
        assert "collapsed in iteration 8" in fit.convergence.message
        assert "'Subject'" in fit.messages[-1]
        path = fit.trace["Subject.(Intercept).Days.corr"].round(2).to_list()
        assert path[:4] == [0.49, 0.66, 0.82, 0.94]

    def test_continued_without_the_direction(self) -> None:
        fit = article_loop("raw", on_collapse="continue", iterations=60)
        assert len(fit.trace) == 60
        assert fit.convergence.converged
        assert np.linalg.matrix_rank(fit.varcorr["Subject"], tol=1e-9) == 1

    def test_scaled_up_in_every_round_the_direction_lives(self) -> None:
        # s of the weak direction is 2.697, and 4 / 2.697 is less than 1.75
        fit = article_loop("raw", scale=1.75, iterations=400)
        assert np.linalg.eigvalsh(fit.varcorr["Subject"])[0] > 1.0

    def test_gradient_descent_inside_gives_the_same_digits(self) -> None:
        fit = article_loop("diagonal", inner="gradient", inner_steps=100)
        variances = np.diag(fit.varcorr["Subject"])
        assert variances == pytest.approx([302.9045408, 31.08902388], abs=5e-6)


def test_closed_form_of_the_balanced_optimum() -> None:
    fit = pm.mackay(SLEEP, pm.load_data("sleepstudy"))
    expected = [[612.08993866, 9.60433332], [9.60433332, 35.0716605]]
    assert fit.varcorr["Subject"].to_numpy() == pytest.approx(np.array(expected), rel=1e-8)
    assert fit.sigma**2 == pytest.approx(654.94102708, rel=1e-10)


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("update", ["gamma", "em"])
@pytest.mark.parametrize(("name", "formula"), FORMULAS)
def test_ends_at_the_optimum_of_lmer(name: str, formula: str, update: str, reml: bool) -> None:
    data = pm.load_data(name)
    fit = pm.mackay(formula, data, update=update, reml=reml)
    reference = pm.lmer(formula, data, reml=reml)
    assert relative_errors(fit, reference) < tol("loop")
    assert fit.criterion == pytest.approx(reference.criterion, rel=tol("criterion"))
    assert fit.convergence.converged
    assert len(fit.trace) < 100
    gap = pm.variance_gap(fit)
    assert (gap["residue"].abs() <= tol("loop") * gap["variance"]).all()


def test_ends_at_the_optimum_with_many_rows() -> None:
    data = pm.load_data("InstEval")
    formula = "y ~ service + (1 | d)"
    fit = pm.mackay(formula, data)
    assert relative_errors(fit, pm.lmer(formula, data)) < tol("loop")


def test_weights_and_offset() -> None:
    model = crossed_model(weighted=True)
    problem = problem_of(model)
    options = make_settings(problem.model, problem.solver.precision)
    fit = fit_of(
        problem, run_loop(LinearEquations(problem), starting_state(problem, None, None), options)
    )
    dense = dense_fit(model, fit.theta.to_numpy(), reml=True)
    assert fit.sigma == pytest.approx(dense.sigma, rel=tol("oracle"))
    gap = pm.variance_gap(fit)
    assert (gap["residue"].abs() <= tol("loop") * gap["variance"]).all()


class TestBoundary:
    @pytest.mark.parametrize("update", ["gamma", "em"])
    def test_a_zero_variance_is_exactly_zero_and_reported(self, update: str) -> None:
        fit = pm.mackay("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2"), update=update)
        assert fit.varcorr["Batch"].iloc[0, 0] == 0.0
        assert fit.singular
        assert "Batch: every variance is estimated as zero" in fit.messages
        assert (fit.ranef["Batch"] == 0.0).to_numpy().all()
        assert "boundary" in fit.trace["step"].to_list()

    def test_a_perfect_correlation_is_reported_with_its_direction(self) -> None:
        fit = pm.mackay("yield ~ nitro + (nitro | Block)", pm.load_data("Oats"))
        message = next(m for m in fit.messages if m.startswith("Block: "))
        assert "nitro" in message
        assert "(Intercept)" in message

    def test_without_acceleration_a_zero_variance_vanishes_geometrically(self) -> None:
        fit = pm.mackay("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2"), acceleration=False)
        path = fit.trace["Batch.(Intercept).var"].to_numpy()
        assert (np.diff(path) < 0.0).all()
        assert path[-1] < 1e-9 * fit.sigma**2
        assert fit.convergence.converged
        assert fit.messages == ("Batch: the variance of (Intercept) is going to zero",)

    def test_a_direction_on_its_way_to_zero_is_named(self) -> None:
        data = pm.load_data("Oats")
        fit = pm.mackay("yield ~ nitro + (nitro | Block)", data, acceleration=False)
        assert fit.messages[-1].startswith("Block: the variance of -0.262 (Intercept) + nitro")


def expected_step(model: Model, theta: np.ndarray, update: str, *, reml: bool) -> dict:
    """Next variances by the formulas of the rules, from the dense oracle at `theta`."""
    dense = dense_fit(model, theta, reml=reml)
    errors = dense.pev if reml else dense.condvar
    found, start, hat = {}, 0, float(len(dense.beta)) if reml else 0.0
    for term in model.terms:
        levels, q = len(model.factors[term.group].levels), len(term.effects)
        stop = start + levels * q
        b = dense.b[start:stop].reshape(levels, q)
        blocks = errors[start:stop, start:stop].reshape(levels, q, levels, q)
        C = sum(blocks[j, :, j] for j in range(levels))
        V = dense.varcorr[term.name]
        hat += levels * q - np.trace(np.linalg.solve(V, C))
        if update == "raw":
            found[term.name] = np.atleast_2d(np.cov(b.T))
        elif update == "diagonal":
            found[term.name] = np.diag(np.diag(np.atleast_2d(np.cov(b.T))))
        elif update == "em":
            found[term.name] = (b.T @ b + C) / levels
        elif q == 1:
            found[term.name] = b.T @ b / (levels - C / V)
        start = stop
    weights = np.ones(len(model.y)) if model.weights is None else model.weights
    sse = float(weights @ (model.y - dense.fitted) ** 2)
    return found | {"noise": sse / (len(model.y) - hat)}


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("update", ["raw", "diagonal", "gamma", "em"])
@pytest.mark.parametrize(
    ("model", "theta"),
    [
        (sleepstudy_model(), np.array([0.9, 0.05, 0.25])),
        (sleepstudy_model(double_bar=True), np.array([0.9, 0.25])),
        (crossed_model(), np.array([1.5, 0.3, 0.8, 0.6])),
        (crossed_model(weighted=True), np.array([1.5, 0.3, 0.8, 0.6])),
    ],
    ids=["correlated", "uncorrelated", "crossed", "weighted"],
)
def test_one_round_of_every_rule_by_its_formula(
    model: Model, theta: np.ndarray, update: str, reml: bool
) -> None:
    problem = problem_of(model, reml=reml)
    options = make_settings(
        problem.model, problem.solver.precision, update=update, iterations=1, acceleration=False
    )
    fit = fit_of(
        problem, run_loop(LinearEquations(problem), starting_state(problem, theta, None), options)
    )
    expected = expected_step(model, theta, update, reml=reml)
    assert fit.sigma**2 == pytest.approx(expected.pop("noise"), rel=tol("oracle"))
    for name, V in expected.items():
        sd = np.sqrt(np.diag(V))
        error = np.abs(fit.varcorr[name].to_numpy() - V) / np.outer(sd, sd)
        assert error.max() < tol("oracle"), name


def test_a_rule_of_ones_own() -> None:
    seen: list[TermMoments] = []

    def shrunken(term: TermMoments) -> np.ndarray:
        seen.append(term)
        return np.cov(term.predictions.T)

    fit = article_loop("raw", iterations=5)
    data = pm.load_data("sleepstudy")
    noise_var = data["Reaction"].var(ddof=0) / 4
    own = pm.mackay(
        SLEEP,
        data,
        update=shrunken,
        iterations=5,
        start={"Subject": DIAGONAL_START},
        start_noise_var=noise_var,
    )
    assert own.varcorr["Subject"].to_numpy() == pytest.approx(
        fit.varcorr["Subject"].to_numpy(), rel=1e-10
    )
    assert seen[0].variance == pytest.approx(DIAGONAL_START)
    assert seen[0].noise_var == pytest.approx(noise_var)
    assert seen[0].n_levels == 18
    assert (seen[0].effects, seen[0].group) == (("(Intercept)", "Days"), "Subject")


def test_the_literal_loop_with_the_divisor_gamma_is_reml() -> None:
    def divided(term: TermMoments) -> np.ndarray:
        return np.sum(term.predictions**2, axis=0) / term.gamma

    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    data = pm.load_data("Penicillin")
    fit = pm.mackay(formula, data, update=divided, iterations=200, tolerance=1e-11)
    assert relative_errors(fit, pm.lmer(formula, data)) < tol("loop")


class TestTrace:
    def test_columns_and_rows(self) -> None:
        fit = article_loop("diagonal", iterations=12)
        assert list(fit.trace.columns) == [
            "iteration",
            "Subject.(Intercept).var",
            "Subject.Days.var",
            "Subject.(Intercept).Days.corr",
            "sigma_var",
            "Subject.gamma",
            "criterion",
            "distance",
            "step",
        ]
        assert fit.trace["iteration"].to_list() == list(range(1, 13))

    def test_last_row_is_the_fit(self) -> None:
        fit = pm.mackay(SLEEP, pm.load_data("sleepstudy"), update="em", iterations=40)
        last = fit.trace.iloc[-1]
        V = fit.varcorr["Subject"].to_numpy()
        assert last["Subject.Days.var"] == pytest.approx(V[1, 1], rel=1e-12)
        correlation = V[0, 1] / np.sqrt(V[0, 0] * V[1, 1])
        assert last["Subject.(Intercept).Days.corr"] == pytest.approx(correlation, rel=1e-10)
        assert last["sigma_var"] == pytest.approx(fit.sigma**2, rel=1e-12)
        assert last["criterion"] == fit.criterion
        gamma = pm.variance_gap(fit)["gamma"].sum()  # by variances: the correlation is small
        assert last["Subject.gamma"] == pytest.approx(gamma, abs=0.5)

    def test_criterion_is_that_of_the_loops_own_noise(self) -> None:
        fit = article_loop("diagonal", iterations=3)
        model = sleepstudy_model()
        theta = fit.theta.to_numpy()
        n, p = model.X.shape
        profiled = dense_fit(model, theta, reml=True)
        ratio = profiled.sigma**2 / fit.sigma**2
        expected = profiled.criterion + (n - p) * (ratio - 1.0 - np.log(ratio))
        assert fit.criterion == pytest.approx(expected, rel=1e-10)

    @pytest.mark.parametrize("update", ["gamma", "em"])
    def test_acceleration_never_raises_the_criterion(self, update: str) -> None:
        fit = pm.mackay(
            "distance ~ age * Sex + (age || Subject)", pm.load_data("Orthodont"), update=update
        )
        criterion = fit.trace["criterion"].to_numpy()
        assert (np.diff(criterion) <= 2e-13 * np.abs(criterion[0])).all()

    def test_acceleration_saves_rounds(self) -> None:
        data = pm.load_data("sleepstudy")
        away = {"start": [2.0, 0.0, 1.0]}
        fast = pm.mackay(SLEEP, data, update="em", **away)
        slow = pm.mackay(SLEEP, data, update="em", acceleration=False, **away)
        assert relative_errors(fast, slow) < 1e-8
        assert len(fast.trace) < 0.5 * len(slow.trace)
        assert set(slow.trace["step"]) == {"rule"}


class TestEnds:
    def test_running_out_warns(self) -> None:
        with pytest.warns(pm.ConvergenceWarning, match="ran 3 iterations"):
            fit = article_loop("em", iterations=3)
        assert not fit.convergence.converged
        assert fit.convergence.iterations == 3

    @pytest.mark.parametrize("share", np.geomspace(1e-4, 1.0, 9).tolist())
    def test_a_direction_whose_variance_underflows_is_dropped_alone(self, share: float) -> None:
        """Its variance is squared every other round: 1e-237 is the last that float64 holds."""
        fit = pm.mackay(
            "yield ~ nitro + (nitro | Block)",
            pm.load_data("Oats"),
            update="diagonal",
            start=np.diag([209.0, 14.3 * share]),
            start_noise_var=254.3,
            iterations=100,
            tolerance=1e-10,
            on_collapse="continue",
        )
        assert fit.varcorr["Block"].loc["nitro", "nitro"] == 0.0
        kept = fit.varcorr["Block"].loc["(Intercept)", "(Intercept)"]
        alone = pm.mackay(
            "yield ~ nitro + (1 | Block)",
            pm.load_data("Oats"),
            update="diagonal",
            start=[[209.0]],
            start_noise_var=254.3,
            iterations=100,
            tolerance=1e-10,
        )
        assert kept == pytest.approx(alone.varcorr["Block"].iloc[0, 0], rel=1e-8)

    def test_a_literal_loop_without_tolerance_only_says_how_far_it_came(self) -> None:
        fit = article_loop("diagonal", iterations=5)
        assert "ran 5 iterations and is still moving" in fit.convergence.message
        assert not fit.convergence.converged

    def test_a_literal_loop_with_tolerance_stops_there(self) -> None:
        fit = article_loop("diagonal", iterations=500, tolerance=1e-6)
        assert fit.convergence.converged
        assert len(fit.trace) < 100
        assert fit.trace["distance"].iloc[-1] <= 1e-6

    def test_the_callback_gets_each_row_and_ends_the_loop(self) -> None:
        rows: list[dict] = []

        def bored(row: dict) -> bool:
            rows.append(row)
            return len(rows) == 4

        fit = article_loop("diagonal", callback=bored)
        assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
        assert len(fit.trace) == 4
        assert "ended by the callback after 4 iterations" in fit.convergence.message

    def test_progress_is_drawn_when_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        article_loop("diagonal", iterations=5, progress=True)
        drawn = sys.stderr.getvalue()
        assert "5/5" in drawn
        assert drawn.endswith("\n")

    def test_no_progress_without_a_terminal(self, capfd: pytest.CaptureFixture) -> None:
        article_loop("diagonal", iterations=2)
        assert capfd.readouterr().err == ""


ANOTHER_RULE = """
import numpy as np
from pymackay.covariance.roots import root_of
from pymackay.solve.loop.rules.rule import Empirical, Rule

def next_root(term):
    return root_of(np.cov(term.effects.T, ddof=0).reshape(term.root.shape) / term.noise_var)

def covariance(effects, root, inverse):
    return np.atleast_2d(np.cov(effects.T, ddof=0))

RULES = (Rule("population", next_root, empirical=Empirical(covariance)),)
"""


class TestARuleIsOneFile:
    @pytest.fixture
    def population(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        (tmp_path / "population.py").write_text(ANOTHER_RULE)
        monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
        yield "population"
        sys.modules.pop("pymackay.solve.loop.rules.population")

    def test_the_loop_runs_it_by_its_name(self, population: str) -> None:
        data = pm.load_data("Dyestuff")
        J, formula = 6, "Yield ~ 1 + (1 | Batch)"
        fit = pm.mackay(formula, data, update=population, scale=3.0, iterations=30)
        raw = pm.mackay(formula, data, update="raw", scale=3.0 * (J - 1) / J, iterations=30)
        assert fit.sigma == pytest.approx(raw.sigma, rel=1e-12)
        assert fit.criterion == pytest.approx(raw.criterion, rel=1e-12)

    def test_it_is_forecast_and_its_collapse_explained(self, population: str) -> None:
        sleep = pm.load_data("sleepstudy")
        loop = pm.mackay(SLEEP, sleep, update=population, iterations=400, on_collapse="continue")
        forecast = pm.forecast_collapse(pm.lmer(SLEEP, sleep), update=population)
        assert forecast["survives"].to_list() == [True, False]
        reml = pm.lmer(SLEEP, sleep).varcorr["Subject"].to_numpy()
        ratios = np.linalg.eigvals(np.linalg.solve(reml, loop.varcorr["Subject"].to_numpy()))
        assert max(ratios) == pytest.approx(forecast["kept"][0], rel=1e-6)
        with pytest.raises(pm.CollapseError, match=r"(?s)collapsed.*Forecast.*0\.0"):
            pm.mackay(SLEEP, sleep, update=population)

    def test_messages_list_it(self, population: str) -> None:
        data = pm.load_data("Dyestuff")
        with pytest.raises(pm.ArgumentError, match=r"must be one of.*'population'"):
            pm.mackay("Yield ~ 1 + (1 | Batch)", data, update="other")
        with pytest.raises(pm.ArgumentError, match=r"literal rules are.*'population'"):
            pm.forecast_collapse(sleepstudy_model(), update="gamma")
        with pytest.raises(pm.ArgumentError, match=r"empirical variances of update=.*'population'"):
            pm.mackay("Yield ~ 1 + (1 | Batch)", data, scale=2.0)

    def test_one_of_the_likelihoods_ends_at_its_optimum(self) -> None:
        rule = Rule("majorised", majorised_root, likelihood=True)
        data = pm.load_data("Pastes")
        formula = "strength ~ 1 + (1 | batch / cask)"
        fit, plain = pm.mackay(formula, data, update=rule), pm.lmer(formula, data)
        assert fit.convergence.converged
        assert relative_errors(fit, plain) < tol("loop")


class TestGradientInside:
    @pytest.mark.parametrize(
        ("optimizer", "steps"), [("sgd", 40), ("adam", 400), (Adam(learning_rate=1.0), 400)]
    )
    def test_some_learning_a_round_ends_at_the_same_place(
        self, optimizer: object, steps: int
    ) -> None:
        data = pm.load_data("sleepstudy")
        fit = pm.mackay(SLEEP, data, inner="gradient", inner_steps=steps, optimizer=optimizer)
        assert relative_errors(fit, pm.lmer(SLEEP, data)) < 1e-5

    def test_few_steps_a_round_take_more_rounds(self) -> None:
        data = pm.load_data("sleepstudy")
        few = pm.mackay(SLEEP, data, update="em", inner="gradient", inner_steps=2, tolerance=1e-5)
        many = pm.mackay(SLEEP, data, update="em", inner="gradient", inner_steps=60, tolerance=1e-5)
        assert relative_errors(few, many) < 1e-3
        assert few.trace["Subject.Days.var"].iloc[0] != many.trace["Subject.Days.var"].iloc[0]


class TestInvariance:
    def test_units_of_the_covariate(self) -> None:
        data = pm.load_data("sleepstudy")
        fit = pm.mackay(SLEEP, data)
        far = data.assign(Days=1e5 * data["Days"])
        other = pm.mackay(SLEEP, far)
        unit = np.diag([1.0, 1e5])
        assert unit @ other.varcorr["Subject"].to_numpy() @ unit == pytest.approx(
            fit.varcorr["Subject"].to_numpy(), rel=1e-8
        )
        assert len(other.trace) == len(fit.trace)

    def test_diagonal_is_diagonal_in_the_effects_that_the_user_wrote(self) -> None:
        data = pm.load_data("sleepstudy")
        centred = data.assign(Days=data["Days"] - 4.5)
        fit = pm.mackay(SLEEP, centred, update="diagonal", iterations=50)
        V = fit.varcorr["Subject"].to_numpy()
        assert abs(V[0, 1]) < 1e-12 * np.sqrt(V[0, 0] * V[1, 1])
        # centring takes the sampling correlation away, and with it what shrank the intercept
        assert V[0, 0] > 1000.0


@st.composite
def simulated(draw: st.DrawFn) -> pd.DataFrame:
    """A small unbalanced data set with one grouping factor, a covariate, and any signal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.integers(4, 9))
    sizes = rng.integers(3, 8, levels)
    g = np.repeat(np.arange(levels), sizes)
    x = rng.normal(size=len(g)) + draw(st.sampled_from([0.0, 3.0]))
    signal = draw(st.sampled_from([0.0, 0.3, 1.0, 5.0]))
    effects = signal * rng.normal(size=(levels, 2)) @ rng.normal(size=(2, 2))
    y = 1.0 + x + effects[g, 0] + effects[g, 1] * x + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{k}" for k in g]})


def nearly_perfect() -> pd.DataFrame:
    """Rows that leave a criterion of few digits: the random effects take up nearly all of y."""
    return pd.read_csv(Path(__file__).parents[1] / "support" / "nearly_perfect.csv")


def never_rises(fit: pm.Fit) -> bool:
    """Say whether a loop's criterion falls from round to round, but for its own rounding."""
    criterion = fit.trace["criterion"].to_numpy()
    sigma2 = fit.trace["sigma_var"].to_numpy() / fit.problem.solver.bases.y_scale**2
    own = rounding(criterion, sigma2, fit.n_obs)
    return bool((np.diff(criterion) <= LEVEL * own[1:]).all())


@settings(max_examples=25, deadline=None)
@example(data=nearly_perfect(), update="gamma", reml=False)
@given(data=simulated(), update=st.sampled_from(["gamma", "em"]), reml=st.booleans())
def test_any_data_end_at_a_certified_optimum(data: pd.DataFrame, update: str, reml: bool) -> None:
    fit = pm.mackay("y ~ x + (x | g)", data, update=update, reml=reml)
    reference = pm.lmer("y ~ x + (x | g)", data, reml=reml)
    assert fit.convergence.converged
    assert fit.criterion >= reference.criterion - 1e-8
    variances = fit.trace[["g.(Intercept).var", "g.x.var"]].to_numpy()
    correlations = fit.trace["g.(Intercept).x.corr"].dropna()
    assert (variances >= 0.0).all()
    assert (correlations.abs() <= 1.0).all()
    assert never_rises(fit)
    if fit.criterion <= reference.criterion + 1e-8:  # not another local optimum
        assert relative_errors(fit, reference) < 1e-6


@pytest.mark.parametrize("model", [sleepstudy_model(), crossed_model()])
@pytest.mark.parametrize("reml", [True, False])
def test_the_mm_step_never_raises_the_criterion(model: Model, reml: bool) -> None:
    problem = problem_of(model, reml=reml)
    rng = np.random.default_rng(3)
    start = starting_state(problem, None, None)
    for _ in range(20):
        roots = tuple(r @ (np.eye(len(r)) + rng.normal(size=r.shape)) for r in start.roots)
        noise_var = start.noise_var * np.exp(rng.normal())
        shown = solve_round(model, problem.solver, State(roots, noise_var))
        noise = np.sqrt(shown.next_noise_var * noise_var)
        ratio = np.sqrt(noise_var / noise)
        stepped = tuple(ratio * majorised_root(t) for t in shown.terms)
        after = solve_round(model, problem.solver, State(stepped, noise))
        assert after.criterion <= shown.criterion + 1e-9


@pytest.mark.parametrize("small", [1e-3, 0.0])
def test_the_mm_step_keeps_small_directions(small: float) -> None:
    """A fixed point comes back: its small variance is not lost beside the large one."""
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(2, 2)))[0]
    root = turn @ np.diag([1.0, small])
    at_rest = TermRound(
        "g", "g", ("a", "b"), root, traces=3.0 * np.eye(2), squares=3.0 * np.eye(2), learned=False,
        effects=np.zeros((5, 2)), transform=np.eye(2), noise_var=1.0, y_scale=1.0, structure=None,
    )  # fmt: skip
    np.testing.assert_allclose(majorised_root(at_rest), root, rtol=tol("oracle"))


def test_anderson_solves_a_linear_problem_in_as_many_rounds_as_unknowns() -> None:
    rng = np.random.default_rng(1)
    A = 0.9 * np.linalg.qr(rng.normal(size=(3, 3)))[0]
    solution = np.array([1.0, -2.0, 3.0])
    anderson, x = Anderson(depth=3), np.zeros(3)
    for _ in range(5):
        x = anderson.propose(x, solution + A @ (x - solution), np.ones(3))
    assert x == pytest.approx(solution, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"update": "gama"}, "update is 'gama'.*'gamma'"),
        ({"update": lambda term: [[1.0, 2.0]]}, "shape"),
        ({"update": lambda term: [[1.0, 2.0], [2.0, 1.0]]}, "negative"),
        ({"scale": -1.0, "update": "raw"}, "scale is -1.0"),
        ({"scale": 2.0}, "own divisor"),
        ({"scale": {"Dog": 2.0}, "update": "raw"}, "Dog"),
        ({"iterations": 0}, "iterations is 0"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"inner": "newton"}, "inner must be one of.*'newton'"),
        ({"inner": "gradient", "inner_steps": 0}, "inner_steps is 0"),
        ({"inner": "gradient", "optimizer": "lbfgs"}, "optimizer is 'lbfgs'"),
        ({"acceleration": True, "update": "raw"}, "acceleration=True"),
        ({"acceleration": True, "inner": "gradient"}, "acceleration=True"),
        ({"acceleration": "yes"}, "acceleration must be True or False.*'yes'"),
        ({"on_collapse": "ignore"}, "on_collapse must be one of.*'ignore'"),
        ({"callback": 3}, "callback is 3"),
        ({"reml": 1}, "reml"),
        ({"start": [[1.0, 0.0]]}, "shape"),
        ({"start": [[1.0, 1.0], [1.0, 1.0]]}, "singular"),
        ({"start": [1.0, 0.0]}, "vector of 3"),
        ({"start": [1.0, 0.0, 0.0]}, "singular"),
        ({"start": {"Dog": [[1.0]]}}, "'Subject': 2 x 2"),
        ({"start": "data"}, "start is 'data'"),
        ({"start_noise_var": -3.0}, "start_noise_var is -3.0"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: dict, message: str) -> None:
    with pytest.raises(pm.ArgumentError, match=message):
        pm.mackay(SLEEP, pm.load_data("sleepstudy"), **arguments)


@pytest.mark.parametrize("start", ["theta", "series", "mapping", "scalar"])
def test_starts_in_every_form_are_the_same(start: str) -> None:
    data, formula = pm.load_data("Dyestuff"), "Yield ~ 1 + (1 | Batch)"
    noise_var, variance = 2000.0, 900.0
    theta = np.sqrt(variance / noise_var)
    forms = {
        "theta": ([theta], None),
        "series": (pd.Series([theta], index=["Batch.(Intercept)"]), None),
        "mapping": ({"Batch": [[variance]]}, noise_var),
        "scalar": (variance, noise_var),
    }
    given_start, given_noise = forms[start]
    fit = pm.mackay(
        formula,
        data,
        update="em",
        acceleration=False,
        callback=lambda row: True,
        start=given_start,
        start_noise_var=given_noise,
    )
    at = pm.evaluate(formula, data, [theta])
    used = at.sigma**2 if given_noise is None else noise_var
    b, C = at.ranef["Batch"].to_numpy(), at.pev["Batch"].sum() * used / at.sigma**2
    assert fit.varcorr["Batch"].iloc[0, 0] == pytest.approx(float((b.T @ b + C)[0, 0]) / 6)
