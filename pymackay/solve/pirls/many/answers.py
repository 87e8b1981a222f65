"""`Answers`: the numbers of many fits in the user's units, from searches of one kind or another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import is_singular
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.results import Fit
from pymackay.solve.assemble import user_factors
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.many.search import Optima
from pymackay.solve.pirls.rows import Rows


@dataclass(frozen=True, eq=False)
class Answers:
    """Numbers of B fits, nan where there is none yet; the fields are those of `ManyGeneralFits`."""

    beta: np.ndarray
    std_error: np.ndarray
    theta: np.ndarray
    varcorr: dict[str, np.ndarray]
    dispersion: np.ndarray
    shape: np.ndarray
    criterion: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray
    singular: np.ndarray

    @classmethod
    def nothing(cls, rows: Rows, B: int) -> Answers:
        """Return the place of the numbers of B fits."""
        model = rows.model
        p, m = len(model.fixed), rows.layouts[-1].theta_stop
        sizes = {term.name: len(term.effects) for term in model.summary().terms}
        return cls(
            beta=np.full((B, p), np.nan),
            std_error=np.full((B, p), np.nan),
            theta=np.full((B, m), np.nan),
            varcorr={name: np.full((B, q, q), np.nan) for name, q in sizes.items()},
            dispersion=np.full(B, np.nan),
            shape=np.full(B, np.nan),
            criterion=np.full(B, np.nan),
            evaluations=np.zeros(B, dtype=int),
            converged=np.zeros(B, dtype=bool),
            singular=np.zeros(B, dtype=bool),
        )

    def put_fit(self, k: int, fit: Fit) -> None:
        """Set the numbers of one fit."""
        self.beta[k], self.std_error[k] = fit.beta, fit.std_error
        self.theta[k] = fit.theta
        for name, matrices in self.varcorr.items():
            matrices[k] = fit.varcorr[name]
        self.dispersion[k], self.shape[k] = fit.general.dispersion, fit.general.shape
        self.criterion[k], self.evaluations[k] = fit.criterion, fit.convergence.evaluations
        self.converged[k], self.singular[k] = fit.convergence.converged, fit.singular

    def put_optima(self, which: np.ndarray, laplace: Laplace, optima: Optima) -> None:
        """Set the numbers of searches side by side, whose places among the fits are `which`."""
        rows, family, psi = laplace.rows, laplace.family, optima.psi
        p = rows.p
        units = rows.basis.from_basis(np.eye(p))
        inner = units @ optima.covariance()[:, :p, :p] @ units.T
        self.beta[which] = rows.basis.from_basis(psi[:, :p].T).T
        self.std_error[which] = np.sqrt(np.diagonal(inner, axis1=1, axis2=2))
        factors = _term_factors(rows, psi[:, p : p + rows.n_theta])
        users = user_factors(rows, factors)
        pairs = zip(rows.layouts, users, strict=True)
        self.theta[which] = np.concatenate([u.elements(f) for u, f in pairs], axis=-1)
        for matrices, user in zip(self.varcorr.values(), users, strict=True):
            matrices[which] = user @ user.swapaxes(1, 2)
        self.dispersion[which] = np.exp(psi[:, -1]) if family.has_dispersion else 1.0
        if isinstance(family, NegativeBinomial):
            self.shape[which] = family.shape
        self.criterion[which], self.evaluations[which] = optima.criterion, optima.evaluations
        self.converged[which] = optima.certified
        self.singular[which] = [
            is_singular(each, rows.layouts) for each in zip(*factors, strict=True)
        ]

    def forget(self, k: int) -> None:
        """Set the numbers of a response that has no fit to nan."""
        for matrices in self.varcorr.values():
            matrices[k] = np.nan
        for values in (self.beta, self.std_error, self.theta, self.dispersion, self.shape):
            values[k] = np.nan
        self.criterion[k], self.evaluations[k] = np.nan, 0
        self.converged[k] = self.singular[k] = False


def _term_factors(rows: Rows, elements: np.ndarray) -> list[np.ndarray]:
    """Return Λ of each term, (B, q, q), from the elements of terms without structure, (B, k)."""
    made = []
    for term in rows.terms:
        factor = np.zeros((len(elements), term.layout.q, term.layout.q))
        factor[:, term.full.rows, term.full.columns] = elements[:, term.own]
        made.append(factor)
    return made
