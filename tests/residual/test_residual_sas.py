"""Models of repeated measures (MMRM) against SAS's PROC MIXED and R's mmrm, on a public trial.

``fev_data.csv`` holds the response, arm and visits of mmrm's data set ``fev_data`` (made data of
200 patients, 537 visits; openpharma/mmrm, Apache License 2.0). The same repository has the output
of PROC MIXED in ``design/KR`` and ``design/ddfm_covtype``: ``MODEL FEV1 = ARMCD / ddfm=...;
REPEATED AVISIT / subject=USUBJID type=...``. SAS ends its search 1e-8 of the criterion above the
optimum.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm

LAG = np.abs(np.subtract.outer(range(4), range(4)))
Matrix = Callable[[np.ndarray], np.ndarray]


def scaled(correlation: Matrix) -> Matrix:
    """Return SAS's parameters of a structure with a variance for each visit: these come first."""
    return lambda x: np.sqrt(np.outer(x[:4], x[:4])) * correlation(x[4:])


def unstructured(x: np.ndarray) -> np.ndarray:
    lower = np.zeros((4, 4))
    lower[np.tril_indices(4)] = x
    return lower + np.tril(lower, -1).T


SAS = {
    # structure: −2 log L, estimate, std. error with ddfm=kr, with ddfm=kr(linear), df
    "us": (3667.96276376, 3.81972492174648, 0.66124382270307, 0.66124382270307, 160.733266403768),
    "cs_hom": (np.nan, 4.19663617897035, 0.7964696053595, 0.7964696053595, 177.038485931223),
    "toep_hom": (np.nan, 4.47051860580552, 0.87839805519623, 0.87839805519623, 160.027408337368),
    "ar1": (3855.12433951, 4.22574315817874, 0.95865439662225, 0.96058142305176, 188.46934887972),
    "ar1_het": (np.nan, 3.72674356244499, 0.7590316099633, 0.75924807546934, 188.225339095373),
    "cs": (np.nan, 3.77090812499029, 0.67414806011886, 0.67403858183242, 190.737701349941),
    "toep": (np.nan, 3.92287746213894, 0.72543828853831, 0.72537324518435, 180.062730071701),
}
RESIDUAL = {
    "us": "us(AVISIT | USUBJID)",
    "cs_hom": "cs(AVISIT | USUBJID, hom = TRUE)",
    "toep_hom": "toep(AVISIT | USUBJID, hom = TRUE)",
    "ar1": "ar1(AVISIT | USUBJID)",
    "ar1_het": "ar1(AVISIT | USUBJID, hom = FALSE)",
    "cs": "cs(AVISIT | USUBJID)",
    "toep": "toep(AVISIT | USUBJID)",
}
CURVED: dict[str, Matrix] = {
    "ar1": lambda x: x[0] * x[1] ** LAG,
    "ar1_het": scaled(lambda r: r[0] ** LAG),
    "cs": scaled(lambda r: r[0] + (1.0 - r[0]) * np.eye(4)),
    "toep": scaled(lambda r: np.append(1.0, r)[LAG]),
    "us": unstructured,
}
"""Covariance matrices as functions of SAS's parameters, on which the term of 1997 depends."""


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    wide = pd.read_csv(Path(__file__).with_name("fev_data.csv"))
    return wide.melt(["USUBJID", "ARMCD"], var_name="AVISIT", value_name="FEV1").dropna()


@pytest.fixture(scope="module")
def fits(trial: pd.DataFrame) -> dict[str, pm.Fit]:
    return {
        name: pm.lmer("FEV1 ~ ARMCD", trial, residual=residual)
        for name, residual in RESIDUAL.items()
    }


def test_the_data_are_those_of_the_trial(trial):
    """SAS prints −2 log L of independent residuals, with the variance by REML: 3891.08088197."""
    assert len(trial) == 537
    X = pd.get_dummies(trial["ARMCD"]).to_numpy(dtype=float)
    y = trial["FEV1"].to_numpy()
    squares = np.sum((y - X @ np.linalg.lstsq(X, y)[0]) ** 2)
    deviance = 535.0 * (1.0 + np.log(2.0 * np.pi * squares / 535.0))
    deviance += np.linalg.slogdet(X.T @ X)[1]
    assert abs(deviance - 3891.08088197) < tol("printed 8")


@pytest.mark.parametrize("name", SAS)
def test_estimates_and_tests_are_those_of_proc_mixed(name, fits):
    deviance, estimate, error, linear, df = SAS[name]
    fit = fits[name]
    if np.isfinite(deviance):
        assert -tol("SAS stops") < fit.criterion - deviance < tol("printed 8")
    row = fit.coefficients("Kenward-Roger").loc["ARMCDTRT"]
    np.testing.assert_allclose(row["Estimate"], estimate, rtol=tol("SAS"))
    np.testing.assert_allclose(row["df"], df, rtol=tol("SAS"))
    if error == linear:  # where the structure is curved the term of 2009 is between the two
        np.testing.assert_allclose(row["Std. Error"], error, rtol=tol("SAS"))
    else:
        np.testing.assert_allclose(row["Std. Error"], [error, linear], rtol=1.1e-3)


def test_marginal_means_are_those_of_proc_mixed(fits):
    means = pm.emmeans(fits["us"], "ARMCD", ddf="Kenward-Roger")
    ours = means.table.set_index("ARMCD").loc[["TRT", "PBO"], ["emmean", "SE", "df"]]
    sas = [[44.8255, 0.4801], [41.0058, 0.4547]]
    np.testing.assert_allclose(ours[["emmean", "SE"]].to_numpy(float), sas, rtol=tol("SAS"))
    printed_whole = 0.5 + 160.0 * tol("SAS")
    np.testing.assert_allclose(ours["df"].to_numpy(float), [159, 162], atol=printed_whole)
    contrast = means.contrast("pairwise").table.iloc[0]
    np.testing.assert_allclose(abs(contrast["estimate"]), SAS["us"][1], rtol=tol("SAS"))
    np.testing.assert_allclose(contrast["SE"], SAS["us"][2], rtol=tol("SAS"))


def test_satterthwaite_is_that_of_proc_mixed(fits):
    row = fits["ar1"].coefficients()
    np.testing.assert_allclose(row["Std. Error"].round(4), [0.6659, 0.9599])
    np.testing.assert_array_equal(row["df"].round(), [194, 188])
    exact = [0.66590567310963, np.hypot(0.66590567310963, 0.69131484001963)]
    np.testing.assert_allclose(row["Std. Error"], exact, rtol=tol("SAS"))


def test_one_mean_has_the_test_of_mmrm(trial):
    """Numbers of mmrm's own tests of ``FEV1 ~ us(AVISIT | USUBJID)``."""
    row = pm.lmer("FEV1 ~ 1", trial, residual=RESIDUAL["us"]).coefficients().iloc[0]
    np.testing.assert_allclose(row["Estimate"], 42.8338, rtol=tol("SAS"))
    np.testing.assert_allclose(row["Std. Error"], 0.3509, rtol=tol("SAS"))
    assert round(row["df"]) == 171
    np.testing.assert_allclose(row["t value"], 122.07, rtol=tol("SAS"))


def parameters(name: str, fit: pm.Fit) -> np.ndarray:
    """Return the estimates as SAS writes them."""
    part = fit.residual_covariance
    R = part.covariance.to_numpy()
    if name == "us":
        return R[np.tril_indices(4)]
    rho = part.par[[key for key in part.par.index if not str(key).startswith("sd.")]]
    return np.append(np.diag(R)[: 1 if name == "ar1" else 4], rho)


class Patients:
    """The trial as a sum over patients, who differ in arm and visits; nothing of the package."""

    def __init__(self, trial: pd.DataFrame) -> None:
        self.parts = []
        for _, rows in trial.sort_values("AVISIT").groupby("USUBJID"):
            X = np.column_stack([np.ones(len(rows)), rows["ARMCD"] == "TRT"]).astype(float)
            visits = rows["AVISIT"].str[-1].astype(int).to_numpy() - 1
            self.parts.append((np.ix_(visits, visits), X, rows["FEV1"].to_numpy()))

    def deviance(self, R: np.ndarray) -> float:
        """Return −2 log L by REML, without its constants."""
        A, c, logdet, yy = np.zeros((2, 2)), np.zeros(2), 0.0, 0.0
        for at, X, y in self.parts:
            both = np.linalg.solve(R[at], np.column_stack([X, y]))
            A, c, yy = A + X.T @ both[:, :2], c + X.T @ both[:, 2], yy + y @ both[:, 2]
            logdet += np.linalg.slogdet(R[at])[1]
        return logdet + np.linalg.slogdet(A)[1] + yy - c @ np.linalg.solve(A, c)

    def errors(self, V: Matrix, x: np.ndarray) -> tuple[float, float]:
        """Return the standard errors of the difference of 1997, and without second derivatives.

        Kenward & Roger 1997, eqs. 3 to 5; W from the observed information.
        """
        R, k = V(x), len(x)
        steps = 1e-3 * np.diag(np.maximum(np.abs(x), 0.1))
        first = differences(V, x, steps)
        second = differences(lambda z: differences(V, z, steps), x, steps)
        curvature = differences(
            lambda z: differences(lambda u: self.deviance(V(u)), z, steps), x, steps
        )
        W = 2.0 * np.linalg.inv(curvature)
        H = np.einsum("ij,ijab->ab", W, second)
        A, Q, bent, P = np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((k, 2, 2))
        for at, X, _ in self.parts:
            inverse = np.linalg.inv(R[at])
            left = X.T @ inverse
            moved = np.array([left @ slope[at] for slope in first])
            A = A + left @ X
            P = P - moved @ left.T
            Q = Q + np.einsum("ij,ipa,ab,jqb->pq", W, moved, inverse, moved)
            bent = bent + left @ H[at] @ left.T
        Phi = np.linalg.inv(A)
        linear = Q - np.einsum("ij,ipr,rs,jsq->pq", W, P, Phi, P)
        of_1997, of_lines = (
            np.sqrt((Phi + 2.0 * Phi @ inner @ Phi)[1, 1])
            for inner in (linear - 0.25 * bent, linear)
        )
        return float(of_1997), float(of_lines)


def differences(f: Callable[[np.ndarray], np.ndarray | float], x: np.ndarray, steps: np.ndarray):
    return np.array([(np.asarray(f(x + s)) - f(x - s)) / (2.0 * s.max()) for s in steps])


@pytest.mark.parametrize("name", CURVED)
def test_the_parts_of_the_method_are_those_of_proc_mixed(name, fits, trial):
    """The formulas of 1997 with the observed information give SAS's two standard errors."""
    V, fit = CURVED[name], fits[name]
    x = parameters(name, fit)
    np.testing.assert_allclose(V(x), fit.residual_covariance.covariance, rtol=tol("invariance"))
    errors = Patients(trial).errors(V, x)
    np.testing.assert_allclose(errors, SAS[name][2:4], rtol=tol("SAS"))
