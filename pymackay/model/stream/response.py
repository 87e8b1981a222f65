"""`ResponseKind`: how the response of a partition is read, of linear and generalised models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.errors import DataError
from pymackay.model.columns.column import Column, Factor
from pymackay.model.design.arguments import check_weights
from pymackay.model.design.general_response import (
    GeneralResponse,
    Support,
    check_prior_weights,
    read_response,
)


@dataclass(frozen=True)
class ResponseKind:
    """What the response of a model may be.

    Attributes
    ----------
    support : {"", "binomial", "count", "positive", "real"}
        Of a generalised model's family; empty for a linear model.
    family : str
        The family's name, for messages.
    """

    support: Support | str = ""
    family: str = ""

    @property
    def weighted(self) -> bool:
        """Whether the cross-products are weighted: those of a linear model are."""
        return not self.support

    def check_weights(self, weights: np.ndarray) -> None:
        """Refuse prior weights of a partition, (n,), that the model cannot have."""
        if self.weighted:
            check_weights(weights)
        else:
            check_prior_weights(weights, part=True)

    def numbers(self, column: Column, name: str, weights: np.ndarray | None) -> np.ndarray:
        """Return the response, a column of this name, as one column of numbers, (n,)."""
        if self.support:
            return self.general(column, name, weights).y
        if isinstance(column, Factor) or column.values.ndim != 1:
            raise DataError(f"the response '{name}' must be one column of numbers.")
        return column.floats

    def general(self, column: Column, name: str, weights: np.ndarray | None) -> GeneralResponse:
        """Return the response of a generalised model, with prior weights, (n,).

        Raises
        ------
        DataError
            If it cannot be read from one partition alone.
        """
        if isinstance(column, Factor) and column.kind != "logical":
            raise DataError(
                f"the response '{name}' holds categories, of which a partition need not have all; "
                f"where the rows come in partitions, make it 0 and 1, or false and true."
            )
        if not isinstance(column, Factor) and column.values.ndim == 2 and weights is not None:
            raise DataError(
                f"the response '{name}' has weights besides its numbers of trials; where the rows "
                f"come in partitions, give the proportion of successes as the response, and the "
                f"products of weights and trials as weights."
            )
        return read_response(
            column,
            name,
            self.support,  # type: ignore[arg-type]
            weights,
            self.family,
            part=True,
        )


LINEAR = ResponseKind()
