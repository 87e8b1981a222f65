"""Marginal means against R's emmeans, asked live at the same theta."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.infer.means.adjust import adjusted_p
from pymackay.infer.means.contrast_tables import contrast_table
from pymackay.infer.means.rectangle import probability_inside
from pymackay.reference.columns import table
from pymackay.reference.r.session import session

live = pytest.mark.live


def trial() -> pd.DataFrame:
    """Factors a, b, h (h nested in b by its levels), numbers x and k (two values), groups g."""
    rng = np.random.default_rng(11)
    n = 168
    data = pd.DataFrame({"g": [f"g{k}" for k in np.arange(n) % 14]})
    data["a"] = rng.choice(["p", "q", "r"], n, p=[0.5, 0.3, 0.2])
    data["b"] = rng.choice(["u", "v"], n, p=[0.6, 0.4])
    data["h"] = np.where(data["b"] == "u", rng.choice(["h1", "h2", "h3"], n), "h4")
    data.loc[(data["b"] == "v") & (rng.random(n) < 0.5), "h"] = "h5"
    data["x"], data["z"] = rng.uniform(1.0, 5.0, n), rng.normal(size=n)
    data["k"], data["dose"] = rng.integers(0, 2, n), rng.choice([1, 2, 4, 8], n)
    data["flag"] = rng.random(n) < 0.4
    effect = data["a"].map({"p": 0.0, "q": 0.4, "r": 0.9}) + 0.2 * data["x"]
    group = rng.normal(size=14)[np.arange(n) % 14] * 0.4
    data["y"] = np.exp(1.0 + effect + group + 0.5 * rng.normal(size=n))
    return data


DATA = {
    "trial": trial,
    "empty cell": lambda: trial().query("not (a == 'r' and b == 'v')").reset_index(drop=True),
    "singular": lambda: trial().assign(
        y=lambda d: d["z"] - d.groupby("g")["z"].transform("mean") + (d["a"] == "q")
    ),
    **{name: lambda name=name: pm.load_data(name)
       for name in ("cake", "Machines", "Oats", "Orthodont", "sleepstudy", "Penicillin")},
}  # fmt: skip

# data, formula, specs, and what else is asked
MODELS: list[tuple[str, str, list[str], dict[str, Any]]] = [
    ("trial", "y ~ a + (1 | g)", ["a"], {}),
    ("trial", "y ~ a * b + x + (1 | g)", ["a"], {}),
    ("trial", "y ~ a * b + x + (1 | g)", ["a"], {"by": "b"}),
    ("trial", "y ~ a * b + x + (1 | g)", ["a", "b"], {}),
    ("trial", "y ~ a * b + x + (1 | g)", ["a"], {"weights": "proportional"}),
    ("trial", "y ~ a * b + k + (1 | g)", ["a"], {"weights": "cells"}),
    ("trial", "y ~ a * b * flag + (1 | g)", ["a"], {"weights": "outer"}),
    ("trial", "y ~ a * x + (x | g)", ["a"], {"at": {"x": 2.0}, "by": None}),
    ("trial", "y ~ a * x + (1 | g)", ["a", "x"], {"at": {"x": [1.5, 3.0]}}),
    ("trial", "y ~ a * x + (1 | g)", ["a"], {"trend": "x"}),
    ("trial", "y ~ a * b * x + (1 | g)", ["a"], {"trend": "x", "by": "b"}),
    ("trial", "y ~ k + flag + factor(dose) + z + (1 | g)", ["dose"], {}),
    ("trial", "log(y) ~ a + log(x) + (1 | g)", ["a"], {"type": "response"}),
    ("trial", "log(y + 1) ~ a * b + (1 | g)", ["a"], {"type": "response", "by": "b"}),
    ("trial", "sqrt(y) ~ a + poly(x, 2) + (1 | g)", ["a"], {"type": "response"}),
    ("trial", "log10(y) ~ a + offset(z) + (1 | g)", ["a"], {"type": "response"}),
    ("trial", "y ~ b / h + (1 | g)", ["h"], {}),
    ("trial", "y ~ b / h + a + (1 | g)", ["b"], {}),
    ("trial", "y ~ a + (a | g)", ["a"], {"ddf": "asymptotic"}),
    ("trial", "y ~ a + x + (1 | g)", ["a"], {"contrasts": {"a": "contr.sum"}}),
    ("empty cell", "y ~ a * b + x + (1 | g)", ["a", "b"], {}),
    ("empty cell", "y ~ a * b + x + (1 | g)", ["a"], {}),
    ("empty cell", "y ~ b * a + (1 | g)", ["a"], {"weights": "cells"}),
    ("empty cell", "y ~ a * b + x + (1 | g)", ["a"], {"by": "b"}),
    ("singular", "y ~ a + (1 | g)", ["a"], {}),
    ("singular", "y ~ a * b + (x | g)", ["b"], {"by": "a"}),
    ("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)", ["temperature"], {}),
    ("cake", "angle ~ recipe + temp + (1 | replicate)", ["recipe"], {"ddf": "Kenward-Roger"}),
    ("Machines", "score ~ Machine + (Machine | Worker)", ["Machine"], {"ddf": "Kenward-Roger"}),
    ("Oats", "yield ~ Variety * nitro + (1 | Block/Variety)", ["Variety"], {}),
    ("Orthodont", "distance ~ age * Sex + (age | Subject)", ["Sex"], {"trend": "age"}),
    ("trial", "y ~ b / h + a + (1 | g)", ["a"], {"weights": "outer"}),
    ("trial", "y ~ a * b + x + (1 | g)", ["a"], {"at": {"b": ["u"]}, "weights": "proportional"}),
]  # fmt: skip

JOINT = [model for k, model in enumerate(MODELS) if k in (1, 6, 7, 11, 14, 16, 20, 24, 26, 27, 29)]


def name_of(model: tuple[str, str, list[str], dict[str, Any]]) -> str:
    return ", ".join(
        [model[0], model[1], "+".join(model[2]), *(f"{k}={v}" for k, v in model[3].items())]
    )


@pytest.fixture(scope="module")
def probe():
    session().call("source", str(Path(__file__).parents[1] / "support" / "emmeans_probe.R"))

    answers: dict[str, Any] = {}

    def ask(model: tuple[str, str, list[str], dict[str, Any]]) -> Any:
        name, formula, specs, asked = model
        if name_of(model) in answers:
            return answers[name_of(model)]
        at = {
            name: values if isinstance(values, list) else [values]
            for name, values in (asked.get("at") or {}).items()
        }
        at = {
            name: values if isinstance(values[0], str) else np.array(values, dtype=np.float64)
            for name, values in at.items()
        }
        by = asked.get("by") or []
        answers[name_of(model)] = session().call(
            "probe_emmeans", formula, table(DATA[name]()), asked.get("contrasts", {}), specs, by,
            at,
            asked.get("weights", "equal"), asked.get("ddf", "Satterthwaite").lower(),
            asked.get("type", "link"), asked.get("trend", ""), model in JOINT,
        ).value  # fmt: skip
        return answers[name_of(model)]

    return ask


def ours(data: pd.DataFrame, model: Any, theta: Any) -> tuple[pm.Fit, pm.Means]:
    _, formula, specs, asked = model
    given = {k: v for k, v in asked.items() if k in ("by", "at", "weights", "ddf")}
    fit = pm.evaluate(formula, data, np.atleast_1d(theta), contrasts=asked.get("contrasts"))
    if "trend" in asked:
        return fit, pm.emtrends(fit, specs, asked["trend"], **given)
    return fit, pm.emmeans(fit, specs, type=asked.get("type", "link"), **given)


def numbers(frame: pd.DataFrame, columns: int) -> np.ndarray:
    return frame.iloc[:, -columns:].to_numpy(dtype=np.float64).T


def assert_agree(mine: np.ndarray, theirs: list[Any], what: str) -> None:
    """Compare estimate, SE, df, and two columns more; df and what hangs on it as lmerTest has."""
    for k, (own, other) in enumerate(zip(mine, theirs, strict=True)):
        other = np.atleast_1d(np.asarray(other, dtype=np.float64))
        rtol = tol("emmeans") if k in (0, 1) else tol("numerical derivatives")
        size = np.nanmax(np.abs(np.where(np.isfinite(other), other, np.nan)), initial=1e-3)
        np.testing.assert_allclose(own, other, rtol=rtol, atol=rtol * size, err_msg=f"{what} {k}")


@live
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_means_comparisons_and_tests_are_those_of_emmeans(model: Any, probe: Any) -> None:
    data = DATA[model[0]]()
    theirs = probe(model)
    _, means = ours(data, model, theirs["theta"])
    assert_agree(numbers(means.confint(), 5), list(theirs["means"].values()), "means")
    pairs = means.pairs()
    rounded = np.atleast_1d(theirs["tukey"][4])  # at whole df, as R's emmeans takes them
    np.testing.assert_allclose(pairs.test()["p.value"], rounded, atol=tol("whole df"))
    for adjust in ("sidak", "holm", "bonferroni"):
        assert_agree(numbers(pairs.test(adjust=adjust), 5), theirs[adjust], adjust)
    mvt = np.atleast_1d(theirs["mvt"][4])  # R has none beside functions that are not estimable
    mine = pairs.test(adjust="mvt")["p.value"].where(~np.isnan(mvt))
    np.testing.assert_allclose(mine, mvt, atol=tol("mvt"))
    assert_agree(numbers(pairs.confint(), 5), list(theirs["intervals"].values()), "intervals")
    for method, key in (("trt.vs.ctrl", "treatment"), ("consec", "consecutive"), ("poly", "poly")):
        mine = means.contrast(method, adjust="none")
        assert_agree(numbers(mine.table, 5), theirs[key], method)
    assert_agree(numbers(means.contrast("eff").table, 5), theirs["effects"], "eff")


@live
@pytest.mark.parametrize("model", JOINT, ids=name_of)
def test_joint_tests_are_those_of_emmeans(model: Any, probe: Any) -> None:
    data = DATA[model[0]]()
    theirs = probe(model)
    fit, _ = ours(data, model, theirs["theta"])
    mine = pm.joint_tests(fit, ddf=model[3].get("ddf", "Satterthwaite"))
    terms, df1, df2, F, p = (np.atleast_1d(column) for column in theirs["joint"])
    expected = pd.DataFrame({"df1": df1, "df2": df2, "F.ratio": F, "p.value": p}, index=terms)
    expected = expected.drop(index="(confounded)", errors="ignore").astype(float)
    assert sorted(mine.index) == sorted(expected.index)
    mine = mine.loc[expected.index].astype(float)
    np.testing.assert_array_equal(mine["df1"], expected["df1"])
    # R's function rounds F to three decimals and df2 to two, and takes the least of the rows' df
    np.testing.assert_allclose(
        mine["F.ratio"], expected["F.ratio"], rtol=0.0, atol=tol("printed 3")
    )
    one = expected["df1"] == 1
    np.testing.assert_allclose(mine["df2"][one], expected["df2"][one], rtol=0.0, atol=0.0051)


@pytest.fixture(scope="module")
def fit() -> pm.Fit:
    return pm.lmer("y ~ a * b + x + (1 | g)", trial())


def test_tukeys_p_value_is_that_of_the_studentized_range() -> None:
    # R's ptukey(sqrt(2) * 3.22365619, 3, 141.11909446, lower.tail = FALSE)
    p = adjusted_p(np.array([3.22365619]), np.array([141.11909446]), "none", 3, np.eye(1))
    assert p[0] == pytest.approx(2.0 * stats.t.sf(3.22365619, 141.11909446))
    t, df = np.array([3.22365619, 0.5]), np.array([141.11909446, 20.0])
    p = adjusted_p(t, df, "tukey", 3, np.eye(2))
    assert p[0] == pytest.approx(0.00445741291879, rel=tol("oracle"))


def test_a_box_of_independent_and_of_equal_variables_has_its_known_probability() -> None:
    one = 2.0 * stats.norm.cdf(1.5) - 1.0
    assert probability_inside(1.5, np.inf, np.eye(3)) == pytest.approx(one**3, abs=1e-4)
    assert probability_inside(1.5, np.inf, np.ones((3, 3))) == pytest.approx(one, abs=1e-4)
    one = 2.0 * stats.t.cdf(1.5, 5.0) - 1.0
    assert probability_inside(1.5, 5.0, np.ones((2, 2))) == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize("df", [7.3, np.inf])
def test_the_box_of_all_pairs_is_tukeys(df: float) -> None:
    C = np.array([[1, -1, 0, 0], [1, 0, -1, 0], [1, 0, 0, -1], [0, 1, -1, 0], [0, 1, 0, -1],
                  [0, 0, 1, -1]]) / np.sqrt(2.0)  # fmt: skip
    result = probability_inside(2.6, df, C @ C.T)
    assert result == pytest.approx(stats.studentized_range.cdf(2.6 * np.sqrt(2), 4, df), abs=2e-4)


def test_simultaneous_intervals_reach_as_far_as_their_tests(fit: pm.Fit) -> None:
    means = pm.emmeans(fit, "a")
    for adjust in ("tukey", "mvt", "sidak", "bonferroni"):
        pairs = means.pairs(adjust=adjust)
        ends = pairs.confint(level=0.9)
        for column in ("lower.CL", "upper.CL"):
            moved = pairs.test(null=0.0)
            t = (moved["estimate"] - ends[column]) / moved["SE"]
            V = pairs._correlation(np.arange(3))
            p = adjusted_p(t.to_numpy(), moved["df"].to_numpy(), adjust, 3, V)
            np.testing.assert_allclose(p, 0.1, rtol=1e-3 if adjust == "mvt" else 1e-6)


def test_a_table_of_coefficients_is_a_contrast(fit: pm.Fit) -> None:
    means = pm.emmeans(fit, "a")
    named = means.contrast({"p against both": [1.0, -0.5, -0.5]})
    expected = means.table["emmean"] @ [1.0, -0.5, -0.5]
    assert named.table["contrast"].tolist() == ["p against both"]
    assert named.table["estimate"].iloc[0] == pytest.approx(expected, rel=1e-12)
    frame = pd.DataFrame([[1.0, -0.5, -0.5]], index=["p against both"])
    pd.testing.assert_frame_equal(means.contrast(frame).table, named.table)


def test_a_formula_says_what_the_arguments_do(fit: pm.Fit) -> None:
    short = pm.emmeans(fit, "~ a | b").pairs().table
    pd.testing.assert_frame_equal(short, pm.emmeans(fit, ["a"], by="b").pairs().table)


def test_a_fit_that_lost_its_data_takes_them_or_values(tmp_path: Path) -> None:
    data = trial()
    fit = pm.lmer("log(y) ~ a + log(x) + (1 | g)", data)
    expected = pm.emmeans(fit, "a").table
    again = pm.load_fit(fit.save(tmp_path / "fit"))
    with pytest.raises(pm.PymackayError, match=r"'x' are not known.*data="):
        pm.emmeans(again, "a")
    pd.testing.assert_frame_equal(pm.emmeans(again, "a", data=data).table, expected)
    at = {"x": data["x"].mean()}
    pd.testing.assert_frame_equal(pm.emmeans(again, "a", at=at).table, expected)
    with pytest.raises(pm.PymackayError, match="not each of the 168 rows"):
        pm.emmeans(again, "a", data=data.head(100))


def test_a_fit_without_rows_has_means_of_equal_weights() -> None:
    data = trial()
    whole = pm.lmer("y ~ a * b + (1 | g)", data)
    parts = pm.lmer("y ~ a * b + (1 | g)", [data.head(90), data.tail(78)])
    np.testing.assert_allclose(
        numbers(pm.emmeans(parts, "a").table, 5), numbers(pm.emmeans(whole, "a").table, 5),
        rtol=tol("partitions"),
    )  # fmt: skip
    with pytest.raises(pm.PymackayError, match=r"weights='cells' needs.*weights='equal'"):
        pm.emmeans(parts, "a", weights="cells")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"specs": "w"}, r"names 'w', but the variables of the fixed part are 'a', 'b', 'x'"),
        ({"specs": "pairwise ~ a"}, r"\.contrast\('pairwise'\)"),
        ({"specs": "a", "weights": "flat"}, "weights is 'flat'"),
        ({"specs": "a", "type": "response"}, "is not transformed"),
        ({"specs": "a", "at": {"q": 1}}, "at names 'q'"),
        ({"specs": "a", "at": {"x": np.linspace(0, 1, 20000)}}, "120,000 combinations"),
        ({"specs": []}, "specs names no variable"),
        ({"specs": "a", "at": {"a": ["nobody"]}}, "nobody"),
    ],
)
def test_wrong_arguments_are_refused(fit: pm.Fit, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(pm.PymackayError, match=message):
        pm.emmeans(fit, **asked)


def test_wrong_contrasts_are_refused(fit: pm.Fit) -> None:
    means = pm.emmeans(fit, "a")
    with pytest.raises(pm.ArgumentError, match="method is 'all'"):
        means.contrast("all")
    with pytest.raises(pm.ArgumentError, match="one finite number for each of the 3 means"):
        means.contrast([[1.0, -1.0]])
    with pytest.raises(pm.ArgumentError, match="adjust is 'scheffe'"):
        means.pairs(adjust="scheffe")
    with pytest.raises(pm.ArgumentError, match="'a' holds categories"):
        means.trends("a")


def test_polynomial_contrasts_are_whole_numbers() -> None:
    # Fisher and Yates's tables of orthogonal polynomials, seven levels
    result = contrast_table("poly", list("abcdefg")).to_numpy()
    assert result[:4].tolist() == [
        [-3, -2, -1, 0, 1, 2, 3], [5, 0, -3, -4, -3, 0, 5], [-1, 1, 1, 0, -1, -1, 1],
        [3, -7, 1, 6, 1, -7, 3],
    ]  # fmt: skip
