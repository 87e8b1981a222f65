"""Adapters: any engine's result becomes a Fit, names by content, and nothing is made up."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import pymackay as pm
from pymackay import cli
from pymackay.adapters import PARTS, Context, Engine, as_fit
from pymackay.adapters import registry as adapters_registry
from pymackay.adapters.naming import match_columns, match_factor, r_group, r_levels, r_name
from pymackay.adapters.shapes import relative_factor
from pymackay.model.model import GroupingFactor
from pymackay.results import Fit

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


@pytest.fixture(scope="module")
def recorded(sleep) -> Fit:
    return pm.lme4.lmer(SLEEP, sleep, source="recorded")


def parts_of(fit: Fit, *without: str) -> dict:
    """Everything a fit has, as a plain mapping; less what a test leaves out."""
    whole = {
        "beta": fit.beta,
        "vcov": fit.vcov,
        "sigma": fit.sigma,
        "varcorr": fit.varcorr,
        "ranef": fit.ranef,
        "condvar": fit.condvar,
        "pev": fit.pev,
        "criterion": fit.criterion,
        "fitted": fit.fitted,
        "residuals": fit.residuals,
        "weights": None,
        "offset": None,
        "dropped": (),
        "reml": fit.reml,
        "engine": "elsewhere",
    }
    return {key: value for key, value in whole.items() if key not in without}


# ---- the plain dict


def test_a_dict_of_everything_is_the_same_fit(sleep, recorded):
    fit = as_fit(parts_of(recorded), SLEEP, sleep)
    result = pm.compare(fit, recorded)
    assert (result.verdict, result.ok, result.partial) == ("same optimum", True, False)
    judged = result.table[result.table["quantity"] != "criterion"]
    assert judged["distance"].max() == 0.0
    np.testing.assert_allclose(fit.theta, recorded.theta, rtol=1e-13)
    assert list(fit.theta.index) == list(recorded.theta.index)
    assert set(fit.not_offered) == {"evaluate"}


QUANTITIES = {
    "vcov": ["std_error"],
    "sigma": ["sigma"],
    "varcorr": ["variance"],
    "ranef": ["b"],
    "condvar": ["condvar"],
    "pev": ["pev"],
    "criterion": ["criterion"],
    "fitted": ["fitted"],
}


@pytest.mark.parametrize("missing", QUANTITIES)
def test_what_is_missing_is_shown_as_not_offered_and_the_rest_is_judged(sleep, recorded, missing):
    gone = {"ranef": ("ranef", "condvar", "pev")}.get(missing, (missing,))
    fit = as_fit(parts_of(recorded, *gone), SLEEP, sleep)
    for ours, theirs in ((fit, recorded), (recorded, fit)):
        result = pm.compare(ours, theirs)
        assert (result.verdict, result.ok, result.partial) == ("same optimum", True, True)
        table = result.table[result.table["stage"] == "optimum"]
        for quantity in QUANTITIES[missing]:
            rows = table[table["quantity"] == quantity]
            assert rows["ok"].isna().all() or missing == "criterion"
            assert set(rows["note"]) == {"not offered by elsewhere"}
        others = set(table[table["ok"].eq(True).fillna(False)]["quantity"])
        left = {"beta", "sigma", "variance", "b", "condvar", "pev", "fitted"}
        assert left - {q for m in gone for q in QUANTITIES[m]} <= others
        assert "not offered by elsewhere" in str(result)


@pytest.mark.parametrize("missing", QUANTITIES)
def test_a_wrong_number_is_still_found_when_others_are_missing(sleep, recorded, missing):
    gone = {"ranef": ("ranef", "condvar", "pev")}.get(missing, (missing,))
    fit = as_fit(parts_of(recorded, *gone), SLEEP, sleep)
    wrong = fit.replace(beta=fit.beta + 0.01 * recorded.std_error)
    result = pm.compare(wrong, recorded)
    assert not result.ok
    assert result.verdict == "different model"


def test_nothing_but_beta_is_judged_by_beta(sleep, recorded):
    fit = as_fit({"beta": dict(recorded.beta)}, SLEEP, sleep)
    result = pm.compare(fit, recorded)
    assert (result.verdict, result.ok, result.same_theta) == ("same optimum", True, "not checked")
    assert result.table["ok"].sum() == 2
    assert "criteria not offered" in result.sentence
    assert "a dict does not say its random-effects terms" in str(result)
    off = as_fit({"beta": {"(Intercept)": 251.0, "Days": 10.46728596}}, SLEEP, sleep)
    assert not pm.compare(off, recorded).ok


def test_beta_has_no_unit_where_nobody_offers_standard_errors(sleep, recorded):
    one, two = (as_fit({"beta": recorded.beta * k}, SLEEP, sleep) for k in (1.0, 2.0))
    row = pm.compare(one, two).table.set_index("quantity").loc["beta"]
    assert row["ok"] is pd.NA
    assert row["note"] == "no standard errors to measure it in"


def test_nan_that_is_not_declared_is_no_agreement(recorded):
    for change in ({"sigma": float("nan")}, {"beta": recorded.beta * float("nan")}):
        broken = recorded.replace(**change)
        assert not pm.compare(broken, recorded).ok
    assert not pm.compare(recorded.replace(criterion=float("nan")), recorded).ok


def test_mappings_serve_as_well_as_tables(sleep, recorded):
    covariance = recorded.varcorr["Subject"]
    nested = {
        "beta": {"Intercept": recorded.beta["(Intercept)"], "Days": recorded.beta["Days"]},
        "std_error": {"Intercept": recorded.std_error["(Intercept)"], "Days": 1.5457896},
        "sigma": recorded.sigma,
        "varcorr": {"Subject": {c: dict(covariance[c]) for c in covariance}},
        "ranef": {
            "Subject": {level: dict(row) for level, row in recorded.ranef["Subject"].iterrows()}
        },
        "loglik": recorded.loglik,
    }
    fit = as_fit(nested | {"std_error": dict(recorded.std_error)}, SLEEP, sleep)
    assert list(fit.beta.index) == ["(Intercept)", "Days"]
    assert fit.criterion == recorded.criterion
    assert pm.compare(fit, recorded).verdict == "same optimum"
    with pytest.raises(pm.ArgumentError, match="std_error is named"):
        as_fit(nested, SLEEP, sleep)


def test_a_scalar_term_may_be_a_number_and_its_levels_numbers():
    rail = pm.load_data("Rail")
    reference = pm.lme4.lmer("travel ~ 1 + (1 | Rail)", rail, source="recorded")
    fit = as_fit(
        {
            "beta": {"(Intercept)": reference.beta.iloc[0]},
            "std_error": {"(Intercept)": reference.std_error.iloc[0]},
            "sigma": reference.sigma,
            "varcorr": {"Rail": reference.varcorr["Rail"].iloc[0, 0]},
            "ranef": {
                "Rail": {int(k): v for k, v in reference.ranef["Rail"]["(Intercept)"].items()}
            },
            "condvar": {"Rail": reference.condvar["Rail"].ravel()},
            "criterion": reference.criterion,
        },
        "travel ~ 1 + (1 | Rail)",
        rail,
    )
    result = pm.compare(fit, reference)
    assert (result.verdict, result.ok) == ("same optimum", True)
    assert fit.condvar["Rail"].shape == (6, 1, 1)


def test_levels_are_put_into_the_models_order(sleep, recorded):
    order = np.random.default_rng(1).permutation(18)
    turned = parts_of(recorded)
    turned["ranef"] = {"Subject": recorded.ranef["Subject"].iloc[order]}
    for what in ("condvar", "pev"):
        turned[what] = {"Subject": getattr(recorded, what)["Subject"][order]}
    fit = as_fit(turned, SLEEP, sleep)
    assert fit.model.levels == recorded.model.levels
    pd.testing.assert_frame_equal(fit.ranef["Subject"], recorded.ranef["Subject"])
    assert pm.compare(fit, recorded).ok


def test_rows_are_told_by_the_response(sleep, recorded):
    labelled = sleep.set_axis([f"r{i}" for i in range(len(sleep))])
    bare = parts_of(recorded) | {
        "fitted": recorded.fitted.to_numpy(),
        "residuals": recorded.residuals.to_numpy(),
    }
    assert list(as_fit(bare, SLEEP, labelled).model.rows[:2]) == ["r0", "r1"]
    other = as_fit(bare | {"residuals": recorded.residuals.to_numpy() + 1.0}, SLEEP, labelled)
    assert "rows" in other.not_offered
    result = pm.compare(other, recorded)
    assert result.verdict == "different model"
    assert "response" in result.sentence
    short = bare | {"fitted": bare["fitted"][:-1], "residuals": bare["residuals"][:-1]}
    result = pm.compare(as_fit(short, SLEEP, labelled), recorded)
    assert list(result.model_diff["aspect"]) == ["rows"]


def test_a_part_that_is_none_is_not_offered_but_none_weights_are_none(recorded, sleep):
    fit = as_fit(parts_of(recorded) | {"sigma": None}, SLEEP, sleep)
    assert np.isnan(fit.sigma)
    assert "sigma" in fit.not_offered
    assert "weights" not in fit.not_offered
    weighted = recorded.replace(
        model=dataclasses.replace(recorded.model, weights=np.full(180, 2.0))
    )
    assert "weights" in pm.compare(fit, weighted).sentence
    silent = as_fit(parts_of(recorded, "weights"), SLEEP, sleep)
    assert pm.compare(silent, weighted).ok
    assert "elsewhere does not say its weights" in str(pm.compare(silent, weighted))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"betta": 1.0}, "unknown part 'betta'. Did you mean 'beta'"),
        ({"beta": None}, "'beta' is missing"),
        ({"beta": [1.0, 2.0]}, "beta: a Series or a mapping"),
        ({"beta": {"x": "many"}}, "beta"),
        ({"vcov": np.eye(3)}, "vcov must be 2 x 2"),
        ({"vcov": pd.DataFrame(np.eye(2), index=["a", "b"], columns=["a", "b"])}, "vcov is named"),
        ({"varcorr": {"Subject": np.eye(2)}}, "with the effects' names"),
        (
            {"varcorr": {"Subject": {"a": {"a": 1.0, "b": 2.0}, "b": {"a": 0.0, "b": 1.0}}}},
            "not symmetric",
        ),
        ({"theta": [1.0]}, "theta must hold 3 numbers"),
        ({"condvar": {"Subject": np.ones((18, 3, 3))}}, "condvar must be an array 18 x 2 x 2"),
        ({"residuals": [1.0, 2.0]}, "residuals must hold 180 numbers"),
        ({"ranef": {"Subject": [1.0]}}, "ranef['Subject']: a DataFrame"),
    ],
)
def test_a_part_of_the_wrong_shape_is_refused(sleep, recorded, change, says):
    with pytest.raises(pm.ArgumentError) as caught:
        as_fit(parts_of(recorded) | change, SLEEP, sleep)
    assert says in str(caught.value)


def test_every_part_is_documented_and_read():
    assert all(len(text) > 10 for text in PARTS.values())
    with pytest.raises(pm.ArgumentError):
        as_fit({"beta": {"a": 1.0}, "unheard": 1})


# ---- registration


class Answer:
    def __init__(self, beta):
        self.beta = beta


@pytest.fixture
def _forget():
    known = list(adapters_registry._registered)
    yield
    adapters_registry._registered[:] = known


@pytest.mark.usefixtures("_forget")
def test_what_is_registered_last_is_asked_first(sleep, recorded):
    with pytest.raises(pm.ArgumentError, match=r"no adapter for .*Answer"):
        as_fit(Answer({}))
    pm.adapters.register(Answer, lambda obj, context: {"beta": obj.beta, "engine": "a class"})
    assert as_fit(Answer({"(Intercept)": 1.0})).engine.name == "a class"
    pm.adapters.register(
        lambda obj: isinstance(obj, Answer) and "Days" in obj.beta,
        lambda obj, context: recorded.replace(formula=context.formula),
    )
    assert as_fit(Answer({"Days": 1.0}), "y ~ z + (1 | g)").formula == "y ~ z + (1 | g)"
    assert as_fit(Answer({"(Intercept)": 1.0})).engine.name == "a class"
    with pytest.raises(pm.ArgumentError, match="converter: a function is expected, not str"):
        pm.adapters.register(Answer, "convert")


@dataclasses.dataclass
class Mimic:
    """A result of an engine that is made here: our own fit in another dress."""

    fit: pm.Fit


def mimic(made_by: list[object]) -> Engine:
    """Return an engine that fits by this package, and notes what it was asked."""

    def fits(formula, data, reml, weights, offset):
        made_by.append((formula, reml, weights, offset))
        return Mimic(pm.lmer(formula, data, reml=reml, weights=weights, offset=offset))

    def reads(obj, context):
        return parts_of(obj.fit) | {"engine": "mimic", "versions": {"mimic": "1"}}

    return Engine("mimic", Mimic, reads, fits)


@pytest.mark.usefixtures("_forget")
def test_an_engine_is_registered_by_one_object(sleep):
    asked = []
    with pytest.raises(pm.ArgumentError, match="not 'mimic'"):
        pm.adapters.fit_with("mimic", SLEEP, sleep)
    pm.adapters.register(mimic(asked))
    result = pm.adapters.fit_with("mimic", SLEEP, sleep, weights="Reaction")
    assert as_fit(result, SLEEP, sleep).engine.name == "mimic"
    assert asked[0][:2] == (SLEEP, True)
    np.testing.assert_array_equal(asked[0][2], sleep["Reaction"])
    line = ["compare", "sleepstudy", SLEEP, "--lme4", "recorded", "--engine", "mimic"]
    outcome = CliRunner().invoke(cli.main, line)
    assert outcome.exit_code == 0, outcome.output
    assert "ours      mimic (live; mimic 1)" in outcome.stdout


def test_every_engines_file_has_its_name():
    assert {engine.name for engine in adapters_registry.engines() if engine.fits} == set(LACKS)
    assert set(cli.compare.EngineName().choices) == {"pymackay", *LACKS}


def test_a_fit_stays_what_it_is(recorded):
    assert as_fit(recorded) is recorded


# ---- names


def test_columns_are_matched_by_what_they_hold():
    rng = np.random.default_rng(3)
    ours = rng.normal(size=(9, 4))
    theirs = np.column_stack([ours[:, 2], rng.normal(size=9), ours[:, 0] * (1 + 1e-12)])
    assert match_columns(theirs, ours) == [2, None, 0]
    assert match_columns(ours[:, [1, 1]], ours) == [1, None]
    assert match_columns(theirs[:-1], ours) == [None, None, None]


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        ("const", "(Intercept)"),
        ("recipe[T.B]:temp", "recipeB:temp"),
        ("C(recipe, Treatment(1))[T.B]:C(g)[z]", "recipeB:gz"),
        ("g[T.a:b]", "ga:b"),
        ("np.log(x)", "log(x)"),
        ("recipe.L", "recipe.L"),
    ],
)
def test_spellings_of_others(spelled, expected):
    assert r_name(spelled) == expected


def test_factors_are_matched_by_the_rows_they_divide():
    factor = GroupingFactor("g", ("a", "b", "c"), np.array([2, 0, 0, 1]))
    match = match_factor(np.array([0, 1, 1, 2]), {"g": factor})
    assert match is not None
    name, place = match
    assert (name, list(place)) == ("g", [2, 0, 1])
    assert match_factor(np.array([0, 1, 0, 2]), {"g": factor}) is None
    assert match_factor(np.array([0, 1, 1, 1]), {"g": factor}) is None


def test_crossed_levels_in_another_order_and_with_other_separators():
    factor = GroupingFactor("cask:batch", ("a:A", "b:A", "a:B"), np.zeros(1, dtype=int))
    assert r_group("batch:cask", {"cask:batch": factor}) == "cask:batch"
    assert r_group("plate", {"cask:batch": factor}) == "plate"
    assert r_levels("batch:cask", ["A_a", "B_a", "A_b"], factor) == ["a:A", "a:B", "b:A"]
    assert r_levels("cask:batch", ["a/A", "a/B", "b/A"], factor) == ["a:A", "a:B", "b:A"]
    assert r_levels("batch:cask", ["A_a", "B_a", "x"], factor) == ["A_a", "B_a", "x"]


def test_a_column_of_the_same_name_and_other_values_is_another_column(sleep):
    smf = importlib.import_module("statsmodels.formula.api")
    moved = sleep.assign(Days=sleep["Days"] + 1.0)
    fit = as_fit(smf.mixedlm("Reaction ~ Days", moved, groups="Subject").fit(), SLEEP, sleep)
    assert list(fit.beta.index) == ["(Intercept)", "Days (other values)"]


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_theta_of_singular_and_badly_scaled_covariances(scale):
    factor = np.array([[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [1.0, 3.0, 0.0]])
    factor = np.diag([1.0, scale, 1.0 / scale]) @ factor
    theta = relative_factor(pd.DataFrame(factor @ factor.T), 2.0)
    columns, rows = np.triu_indices(3)
    expected = factor[rows, columns] / 2.0
    np.testing.assert_allclose(theta[:-1], expected[:-1], rtol=1e-12)
    assert abs(theta[-1]) < 1e-7 / scale  # the square root of rounding


# ---- the other packages


def _statsmodels(formula, data, groups, re=None, vc=None, **how):
    smf = importlib.import_module("statsmodels.formula.api")
    return smf.mixedlm(formula, data, groups=groups, re_formula=re, vc_formula=vc, **how)


def statsmodels_fit(name, data, reml):
    models = {
        "slope": lambda: _statsmodels("Reaction ~ Days", data, "Subject", "~Days"),
        "no correlation": lambda: _statsmodels(
            "Reaction ~ Days", data, "Subject", "1", {"slope": "0 + Days"}
        ),
        "nested": lambda: _statsmodels("strength ~ 1", data, "batch", "1", {"c": "0 + C(cask)"}),
        "crossed": lambda: _statsmodels(
            "diameter ~ 1", data, np.ones(len(data)), vc={"p": "0+C(plate)", "s": "0+C(sample)"}
        ),
        "interaction": lambda: _statsmodels(
            "angle ~ recipe * temp",
            data.assign(rr=data["recipe"].astype(str) + "/" + data["replicate"].astype(str)),
            "rr",
        ),
        "factor inside": lambda: _statsmodels("score ~ Machine", data, "Worker", "~Machine"),
        "missing": lambda: _statsmodels(
            "Reaction ~ Days", data, "Subject", "~Days", missing="drop"
        ),
    }
    return models[name]().fit(reml=reml)


def glmm_fit(formula, data, reml):
    return importlib.import_module("glmm").fit(data, formula, reml=reml)


def mixedlm_fit(formula, data, reml):
    return importlib.import_module("mixedlm").lmer(formula, data, REML=reml)


def lme_python_fit(formula, data, reml):
    lme_python = importlib.import_module("lme_python")
    polars = importlib.import_module("polars")
    columns = {
        name: column.astype(str).tolist() if column.dtype == "category" else column.tolist()
        for name, column in data.items()
    }
    return lme_python.lmer(formula, polars.DataFrame(columns), reml=reml)


MODELS = {
    "slope": (SLEEP, "sleepstudy"),
    "no correlation": ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    "nested": ("strength ~ 1 + (1 | batch / cask)", "Pastes"),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "interaction": ("angle ~ recipe * temp + (1 | recipe:replicate)", "cake"),
    "factor inside": ("score ~ Machine + (Machine | Worker)", "Machines"),
    "missing": (SLEEP, "sleepstudy"),
}
# what the engine cannot fit is not asked of it
LACKS = {
    "glmm": {"no correlation"},
    "lme-python": {"factor inside", "missing"},
    "mixedlm": set(),
    "statsmodels": set(),
}
NOT_OFFERED = {
    "glmm": {"condvar", "pev", "evaluate"},
    "lme-python": {"condvar", "pev", "evaluate", "weights", "offset", "dropped"},
    "mixedlm": {"pev", "evaluate", "dropped"},
    "statsmodels": {"pev", "evaluate", "dropped", "vcov at theta"},
}
FITTERS = {"glmm": glmm_fit, "mixedlm": mixedlm_fit, "lme-python": lme_python_fit}


def table_of(name: str) -> pd.DataFrame:
    data = pm.load_data(MODELS[name][1])
    if name == "missing":
        data = data.copy()
        data.loc[[5, 77], "Reaction"] = np.nan
    return data


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize(
    ("engine", "name"), [(e, n) for e in LACKS for n in MODELS if n not in LACKS[e]]
)
def test_another_package_agrees_with_us(engine, name, reml):
    formula, data = MODELS[name][0], table_of(name)
    if engine == "statsmodels":
        result = statsmodels_fit(name, data, reml)
    else:
        result = FITTERS[engine](formula, data, reml)
    fit = as_fit(result, formula, data)
    ours = pm.lmer(formula, data, reml=reml)
    comparison = pm.compare(fit, ours)
    assert comparison.same_theta == "agreed"
    assert comparison.ok, str(comparison)
    # lme-python stops where the criterion is right to 1e-6, and on Pastes a variance is not
    assert comparison.verdict in ("same optimum", *["flat ridge"] * (engine == "lme-python"))
    assert set(fit.beta.index) == set(ours.beta.index)
    assert fit.reml is reml
    assert fit.engine.name == engine
    assert fit.engine.versions
    assert set(fit.not_offered) - {"condvar covariances"} == NOT_OFFERED[engine]
    assert fit.model.levels == {g: ours.model.levels[g] for g in fit.model.levels}
    judged = comparison.table[comparison.table["ok"].eq(True).fillna(False)]
    assert {"beta", "std_error", "sigma", "variance", "b", "fitted"} <= set(judged["quantity"])
    for what in ("condvar", "pev"):
        rows = comparison.table[comparison.table["quantity"] == what]
        assert rows["ok"].notna().any() == (what not in fit.not_offered)


@pytest.mark.parametrize("engine", ["glmm", "mixedlm", "lme-python"])
def test_other_contrasts_are_other_columns(engine):
    formula, cake = "angle ~ recipe + temperature + (1 | recipe:replicate)", pm.load_data("cake")
    fit = as_fit(FITTERS[engine](formula, cake, True), formula, cake)
    result = pm.compare(fit, pm.lmer(formula, cake))
    assert list(result.model_diff["aspect"]) == ["fixed effects"]
    assert "temperature.L" in result.model_diff["theirs"].iloc[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_that_an_engine_did_not_use_are_found(sleep):
    weights = 1.0 + np.arange(180) % 3
    result = mixedlm_fit(SLEEP, sleep, True)
    ours = pm.lmer(SLEEP, sleep, weights=weights)
    comparison = pm.compare(as_fit(result, SLEEP, sleep, weights=weights), ours)
    assert list(comparison.model_diff["aspect"]) == ["weights"]
    glmm = importlib.import_module("glmm")
    fit = as_fit(glmm.fit(sleep, SLEEP, weights=weights), SLEEP, sleep, weights=weights)
    comparison = pm.compare(fit, ours)
    assert (comparison.verdict, comparison.ok) == ("same optimum", True)


def test_mixedlm_offers_variances_of_condvar_and_not_their_covariances(sleep):
    fit = as_fit(mixedlm_fit(SLEEP, sleep, True), SLEEP, sleep)
    assert np.isnan(fit.condvar["Subject"][0, 0, 1])
    table = pm.compare(fit, pm.lmer(SLEEP, sleep)).table
    rows = table[(table["quantity"] == "condvar") & (table["stage"] == "optimum")]
    assert rows["ok"].isna().tolist() == [False, True]
    assert rows["note"].tolist() == ["", "not offered by mixedlm"]
    wrong = fit.condvar["Subject"] * 1.1
    spoilt = fit.replace(condvar_source=lambda: {"Subject": wrong})
    assert not pm.compare(spoilt, pm.lmer(SLEEP, sleep)).ok


@pytest.mark.parametrize("engine", ["glmm", "mixedlm", "statsmodels", "lme-python"])
def test_without_formula_and_data_the_names_are_spelled_as_r_would(engine, sleep):
    if engine == "statsmodels":
        result = statsmodels_fit("slope", sleep, True)
    else:
        result = FITTERS[engine](SLEEP, sleep, True)
    fit = as_fit(result)
    assert list(fit.beta.index) == ["(Intercept)", "Days"]
    assert fit.varcorr["Subject"].shape == (2, 2)
    assert list(fit.varcorr["Subject"].columns) == ["(Intercept)", "Days"]
    assert list(fit.ranef["Subject"].columns) == ["(Intercept)", "Days"]
    assert pm.compare(fit, pm.lmer(SLEEP, sleep)).ok


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("engine", ["glmm", "mixedlm", "statsmodels", "lme-python"])
def test_what_is_no_mixed_model_is_refused(engine, sleep):
    results = {
        "statsmodels": lambda: (
            importlib.import_module("statsmodels.formula.api").ols("Reaction ~ Days", sleep).fit()
        ),
        "glmm": lambda: importlib.import_module("glmm").fit(
            sleep.assign(n=np.arange(180) % 4), "n ~ Days + (1 | Subject)", family="poisson"
        ),
        "mixedlm": lambda: importlib.import_module("mixedlm").VarCorr({}, 1.0),
        "lme-python": lambda: importlib.import_module("lme_python").lm(
            [1.0, 2.0, 4.0], [[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
        ),
    }
    result = results[engine]()
    with pytest.raises(pm.ArgumentError, match="is expected"):
        as_fit(result)


# ---- R's own objects


@pytest.mark.live
def test_a_mermod_of_r_is_a_fit_like_any_other(sleep):
    ours = pm.lmer(SLEEP, sleep)
    labelled = sleep.set_axis([f"row {i}" for i in range(180)])
    mermod = pm.lme4.to_r(ours, sleep)
    fit = as_fit(mermod, SLEEP, labelled)
    assert fit.engine.name == "lme4"
    assert list(fit.model.rows[:2]) == ["row 0", "row 1"]
    result = pm.testing.assert_parity(mermod, SLEEP, labelled, lme4="live")
    assert result.verdict == "same optimum"


def test_context_without_a_model_of_ours_gives_no_names(sleep):
    assert Context(SLEEP, None).model is None
    assert Context("Reaction ~ nonsense(Days) + (1 | Subject)", sleep).model is None
    assert Context(SLEEP, sleep).model.fixed == ("(Intercept)", "Days")
