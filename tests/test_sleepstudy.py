"""Tests of the article's class: its two listings, the collapse, files, and bad arguments."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tolerances import tol

import pymackay as pm
from pymackay.errors import ArgumentError, CollapseError, ConvergenceWarning, DataError
from pymackay.sleepstudy import SleepReg

LMER = (np.array([[24.7404**2, 24.7404 * 5.9221 * 0.066], [0.0, 5.9221**2]]), 25.5918**2)
LMER[0][1, 0] = LMER[0][0, 1]
BETA = [251.405105, 10.467286]
EFFECTS = {
    "308": (2.262934, 9.198305),
    "309": (-40.399556, -8.619793),
    "349": (-25.207478, 1.172853),
    "350": (-13.065620, 6.613451),
    "351": (4.575970, -3.014939),
}


@pytest.fixture(scope="module")
def shared() -> SleepReg:
    """One object for tests that set everything they need."""
    return SleepReg()


@pytest.fixture
def regression(shared: SleepReg) -> SleepReg:
    shared.zero_coefficients()
    shared.reset_variances(*LMER)
    shared.set_optimizer(adam=False)
    return shared


def loop(regression: SleepReg, rounds: int, diagonal: bool) -> list[np.ndarray]:
    """Run the article's loop from its start and return every round's covariance."""
    regression.zero_coefficients()
    regression.reset_variances(np.array([[410, 10], [10, 22]]), 0.25 * np.var(regression.y))
    path = []
    for _ in range(rounds):
        regression.train(display_beta=False)
        noise_var = regression.estimate_sigmasq_epsilon()
        cov = regression.get_rnd_effs_variance()
        path.append(cov)
        regression.reset_variances(np.diag(np.diag(cov)) if diagonal else cov, noise_var)
    return path


def dense_hat(regression: SleepReg) -> np.ndarray:
    """Write the hat matrix out from the mixed-model equations."""
    columns = np.hstack([regression.X, regression.Z])
    penalty = np.zeros((columns.shape[1],) * 2)
    penalty[2:, 2:] = regression.V
    whole = columns.T @ columns / regression.sigmasq_epsilon + penalty
    return columns @ np.linalg.solve(whole, columns.T) / regression.sigmasq_epsilon


def assert_printed(effects: pd.DataFrame, printed: dict[str, tuple[float, float]]) -> None:
    np.testing.assert_allclose(
        effects.loc[list(printed)].to_numpy(), list(printed.values()), atol=tol("printed"), rtol=0
    )


def test_listing_one_sgd_then_adam(regression: SleepReg) -> None:
    assert regression.train(display_beta=False).converged
    regression.set_optimizer(adam=True)
    assert regression.train(epochs=300, display_beta=False).converged
    np.testing.assert_allclose(regression.beta.numpy()[:, 0], BETA, atol=tol("printed"), rtol=0)
    assert_printed(regression.get_random_effects(), EFFECTS)


def test_listing_one_by_adam_alone(regression: SleepReg) -> None:
    regression.set_optimizer(adam=True)
    training = regression.train(display_beta=False)
    assert training.converged
    assert training.optimizer == "Adam"
    assert training.epochs > 100
    np.testing.assert_allclose(regression.beta.numpy()[:, 0], BETA, atol=tol("printed"), rtol=0)
    assert_printed(regression.get_random_effects(), EFFECTS)


def test_listing_one_by_adam_after_too_little_sgd(regression: SleepReg) -> None:
    with pytest.warns(ConvergenceWarning, match="SGD ran out of epochs"):
        regression.train(epochs=40, display_beta=False)
    regression.set_optimizer(adam=True)
    assert regression.train(epochs=1000, display_beta=False).epochs > 100
    assert_printed(regression.get_random_effects(), EFFECTS)


def test_listing_one_directly(regression: SleepReg) -> None:
    direct = regression.solve()
    np.testing.assert_allclose(direct.beta, BETA, atol=tol("printed"), rtol=0)
    assert_printed(direct.random_effects, EFFECTS)
    assert not regression.beta.numpy().any()
    assert direct.hat_trace == pytest.approx(np.trace(dense_hat(regression)), rel=tol("oracle"))


def test_listing_two(shared: SleepReg) -> None:
    path = loop(shared, 100, diagonal=True)
    assert len(path) == 100
    intercept, slope = np.diag(shared.Sigma_b)
    assert intercept == pytest.approx(302.9045408, abs=tol("printed 7"))
    assert slope == pytest.approx(31.08902388, abs=tol("printed 8"))
    assert shared.Sigma_b[0, 1] == shared.Sigma_b[1, 0] == 0.0
    assert shared.sigmasq_epsilon == pytest.approx(670.8546961, abs=tol("printed 7"))
    np.testing.assert_allclose(
        shared.beta.numpy()[:, 0], [251.40510485, 10.46728596], atol=tol("printed 8"), rtol=0
    )
    assert_printed(
        shared.get_random_effects(), {"308": (2.013963, 9.147986), "309": (-32.683526, -9.633964)}
    )
    assert shared.estimate_sigmasq_epsilon().shape == (1,)
    counts = [g.experimental_get_tracing_count() for g in shared._descent.graphs.values()]
    assert set(counts) == {1}


def test_listing_two_with_correlation_dies(shared: SleepReg) -> None:
    with pytest.raises(CollapseError) as caught:
        loop(shared, 100, diagonal=False)
    error = caught.value
    assert (error.term, error.iteration) == ("Subject", 8)
    assert error.correlation == pytest.approx(1.0, abs=1e-12)
    assert "0.49, 0.66, 0.82, 0.94, 0.994, 0.99993, 0.999999993, 1." in str(error)
    assert "s = 2.697 dies" in str(error)


def test_correlations_on_the_way_to_the_collapse(shared: SleepReg) -> None:
    path = loop(shared, 7, diagonal=False)
    reached = [cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]) for cov in path]
    rounded = [0.49, 0.66, 0.82, 0.94, 0.994, 0.99993, 1.0]
    np.testing.assert_array_equal(
        [round(r, d) for r, d in zip(reached, [2, 2, 2, 2, 3, 5, 6], strict=True)], rounded
    )
    before = shared.Sigma_b
    assert np.linalg.eigvalsh(before)[0] > 0
    shared.train(display_beta=False)
    with pytest.raises(CollapseError):
        shared.reset_variances(shared.get_rnd_effs_variance(), shared.sigmasq_epsilon)
    assert shared.Sigma_b is before


def test_scaled_up_once_the_loop_dies_all_the_same(shared: SleepReg) -> None:
    loop(shared, 7, diagonal=False)
    shared.train(display_beta=False)
    with pytest.raises(CollapseError, match="iteration 8"):
        shared.reset_variances(1.5 * shared.get_rnd_effs_variance(), shared.sigmasq_epsilon)


def test_rounds_count_from_one_again_after_zeroing(shared: SleepReg) -> None:
    for _ in range(2):
        with pytest.raises(CollapseError, match="iteration 8"):
            loop(shared, 100, diagonal=False)


def test_diagonal_loop_dies_where_an_effect_has_no_signal(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    data = pm.load_data("sleepstudy")
    subjects = data["Subject"].cat.codes.to_numpy()
    data["Reaction"] = 250 + rng.normal(size=18)[subjects] * 40 + rng.normal(size=180) * 20
    data.to_csv(tmp_path / "flat.csv")
    with pytest.raises(CollapseError, match=r"so the direction with s = 0\.\d+ dies") as caught:
        loop(SleepReg(tmp_path / "flat.csv"), 100, diagonal=True)
    assert caught.value.correlation == 0.0


def test_shapes_and_names(regression: SleepReg) -> None:
    assert isinstance(regression, tf.Module)
    assert isinstance(regression.beta, tf.Variable)
    assert isinstance(regression.b, tf.Variable)
    assert regression.beta.shape == (2, 1)
    assert regression.b.shape == (36, 1)
    assert regression.y.shape == (180, 1)
    assert regression.X.shape == (180, 2)
    assert regression.Z.shape == (180, 36)
    assert regression.V.shape == (36, 36)
    assert len(regression.trainable_variables) == 2
    effects = regression.get_random_effects()
    assert list(effects.columns) == ["mu", "b"]
    assert list(effects.index) == list(pm.load_data("sleepstudy")["Subject"].cat.categories)
    assert regression.get_rnd_effs_variance().shape == (2, 2)


def test_loss_is_the_articles(regression: SleepReg) -> None:
    with pytest.warns(ConvergenceWarning):
        training = regression.train(epochs=9, display_beta=False)
    b, beta = regression.b.numpy(), regression.beta.numpy()
    residual = regression.y - regression.X @ beta - regression.Z @ b
    sse = (residual.T @ residual).item()
    loss = sse / regression.sigmasq_epsilon + (b.T @ regression.V @ b).item()
    assert training.loss == pytest.approx(loss, rel=tol("oracle"))
    hat = np.trace(dense_hat(regression))
    expected = sse / (180 - hat)
    assert regression.estimate_sigmasq_epsilon() == pytest.approx([expected], rel=tol("oracle"))


def test_trained_effects_in_the_articles_order(regression: SleepReg) -> None:
    regression.train(display_beta=False)
    np.testing.assert_array_equal(
        regression.b.numpy().reshape(18, 2), regression.get_random_effects().to_numpy()
    )
    fitted = dense_hat(regression) @ regression.y
    mine = regression.X @ regression.beta.numpy() + regression.Z @ regression.b.numpy()
    np.testing.assert_allclose(mine, fitted, rtol=tol("oracle"))


def test_assigned_coefficients_are_where_training_starts(regression: SleepReg) -> None:
    regression.train(display_beta=False)
    beta, b = regression.beta.numpy(), regression.b.numpy()
    regression.zero_coefficients()
    regression.beta.assign(beta)
    regression.b.assign(b)
    assert regression.train(display_beta=False).epochs <= 2


def test_display(regression: SleepReg, capsys: pytest.CaptureFixture[str]) -> None:
    regression.train(display_beta=False)
    assert capsys.readouterr().out == ""
    regression.train()
    assert "beta = 251.405105, 10.467286" in capsys.readouterr().out


def test_file_as_r_writes_it(tmp_path: Path) -> None:
    data = pm.load_data("sleepstudy")
    data.index = data.index.astype(str)
    file = tmp_path / "sleepstudy.csv"
    data[["Subject", "Days", "Reaction"]].to_csv(file, index_label="")
    regression = SleepReg(os.fspath(file))
    np.testing.assert_allclose(regression.y[:, 0], data["Reaction"], rtol=tol("one ulp"))
    regression.reset_variances(*LMER)
    regression.train(display_beta=False)
    assert_printed(regression.get_random_effects(), EFFECTS)


def test_other_data_unbalanced(tmp_path: Path) -> None:
    pm.load_data("sleepstudy").drop(index=[3, 50, 51, 120]).to_csv(tmp_path / "part.csv")
    regression = SleepReg(tmp_path / "part.csv")
    assert regression.y.shape == (176, 1)
    assert regression.train(display_beta=False).converged
    direct = regression.solve()
    np.testing.assert_allclose(
        regression.get_random_effects(), direct.random_effects, atol=tol("statistic")
    )
    np.testing.assert_allclose(regression.beta.numpy()[:, 0], direct.beta, atol=tol("statistic"))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv.* cannot be read"):
        SleepReg(tmp_path / "nowhere.csv")


def test_empty_and_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)) * 4)
    for name in ("empty.csv", "binary.csv", "."):
        with pytest.raises(DataError, match="cannot be read as CSV"):
            SleepReg(tmp_path / name)


def test_missing_columns(tmp_path: Path) -> None:
    pm.load_data("sleepstudy").rename(columns={"Days": "days"}).to_csv(tmp_path / "renamed.csv")
    with pytest.raises(DataError, match=r"lacks Days; its columns are .*days"):
        SleepReg(tmp_path / "renamed.csv")


def test_one_day_only(tmp_path: Path) -> None:
    data = pd.concat([pm.load_data("sleepstudy").query("Days == 3")] * 3)
    data.assign(Reaction=data["Reaction"] + np.arange(len(data))).to_csv(tmp_path / "day.csv")
    with pytest.raises(DataError, match="Days has one value only"):
        SleepReg(tmp_path / "day.csv")


def test_text_response(tmp_path: Path) -> None:
    data = pm.load_data("sleepstudy")
    data["Reaction"] = "fast"
    data.to_csv(tmp_path / "text.csv")
    with pytest.raises(pm.PymackayError, match="Reaction"):
        SleepReg(tmp_path / "text.csv")


@pytest.mark.parametrize(
    ("covariance", "noise_var", "says"),
    [
        (np.eye(3), 1.0, r"Sigma_b has shape \(3, 3\)"),
        (400.0, 1.0, r"Sigma_b has shape \(\)"),
        ([[1.0, 0.1], [0.2, 1.0]], 1.0, "Sigma_b is not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], 1.0, "Sigma_b is not a covariance matrix"),
        ([[1.0, np.nan], [np.nan, 1.0]], 1.0, "Sigma_b has values that are not finite"),
        ([[4.0, 2.0], [2.0, 1.0]], 1.0, "Sigma_b is singular"),
        ([[4.0, 0.0], [0.0, 0.0]], 1.0, "Sigma_b is singular"),
        (np.zeros((2, 2)), 1.0, "Sigma_b is singular"),
        (np.eye(2), 0.0, "sigmasq_epsilon is 0.0"),
        (np.eye(2), -3, "sigmasq_epsilon is -3"),
        (np.eye(2), np.nan, "sigmasq_epsilon is nan"),
        (np.eye(2), np.ones(2), "sigmasq_epsilon"),
    ],
)
def test_bad_variances(
    regression: SleepReg, covariance: object, noise_var: object, says: str
) -> None:
    before = regression.Sigma_b
    with pytest.raises(ArgumentError, match=says):
        regression.reset_variances(covariance, noise_var)
    assert regression.Sigma_b is before


def test_singular_by_hand_is_no_collapse(regression: SleepReg) -> None:
    regression.train(display_beta=False)
    with pytest.raises(ArgumentError, match="Sigma_b is singular"):
        regression.reset_variances([[4.0, 2.0], [2.0, 1.0]], 600.0)


@pytest.mark.parametrize("epochs", [0, -5, 1.5, "many"])
def test_bad_epochs(regression: SleepReg, epochs: object) -> None:
    with pytest.raises(ArgumentError, match="epochs"):
        regression.train(epochs=epochs)
