"""`Asked`: the model that a command is asked for, and the options that describe it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

import pymackay as pm
from pymackay.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from pymackay.family.family import Family
    from pymackay.reference.question import Question


@dataclass(frozen=True)
class Asked:
    """The model that a command is asked for.

    Attributes
    ----------
    data, formula : str
    reml : bool
    columns : dict
        ``weights`` and ``offset``, as `pymackay.lmer` takes them.
    family : Family or None
        Of a generalised model; None for a linear one.
    nagq : int or str
    reading : dict
        ``sep`` and ``decimal`` of a CSV file.
    """

    data: str
    formula: str
    reml: bool
    columns: dict[str, Any]
    family: Family | None
    nagq: int | str
    reading: dict[str, Any]

    @property
    def how(self) -> dict[str, Any]:
        """Arguments besides formula and data that an engine for linear models takes."""
        return {"reml": self.reml, **self.columns}

    def table(self, progress: Progress) -> pd.DataFrame:
        """Read the data, before TensorFlow is loaded: a wrong name is reported at once."""
        from pymackay.incoming.table_file import read_table

        progress.say(f"reading {self.data}")
        return read_table(self.data, **self.reading)

    def fit(self, table: pd.DataFrame) -> pm.Fit:
        """Fit the model in TensorFlow."""
        if self.family is None:
            return pm.lmer(self.formula, table, **self.how)
        return pm.glmer(self.formula, table, self.family, nagq=self.nagq, **self.columns)

    def question(self, table: pd.DataFrame) -> Question:
        """Return the question that asks lme4 for this model."""
        from pymackay.reference.general.question import GeneralQuestion
        from pymackay.reference.question import Question

        if self.family is None:
            return Question(self.formula, table, **self.how)
        nagq: Any = self.nagq  # the question refuses what lme4 does not take
        return GeneralQuestion(
            self.formula, table, False, family=self.family, nagq=nagq, **self.columns
        )


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command that fits a model takes; it is given as one `Asked`."""

    @click.argument("data")
    @click.argument("formula")
    @click.option("--ml", is_flag=True, help="Use maximum likelihood instead of REML.")
    @click.option("--weights", metavar="COL", help="Column with prior weights.")
    @click.option(
        "--offset", metavar="COL", help="Column with the offset, a known term of the predictor."
    )
    @click.option(
        "--family",
        metavar="NAME",
        help="Fit a generalised model by maximum likelihood: binomial, poisson, Gamma, "
        'inverse.gaussian, "negative binomial" or gaussian.',
    )
    @click.option("--link", metavar="NAME", help="Link of the family, if not its default.")
    @click.option(
        "--nagq",
        metavar="N",
        help="Nodes of the quadrature of a generalised model; 1, the default, is Laplace's "
        'approximation. "exact" is for one scalar term.',
    )
    @click.option(
        "--sep", metavar="CHAR", help='Separator of a CSV file, or "tab"; found by default.'
    )
    @click.option("--decimal", metavar="CHAR", help="Decimal mark of a CSV file; found by default.")
    @wraps(command)
    def with_model(
        data: str,
        formula: str,
        ml: bool,
        weights: str | None,
        offset: str | None,
        family: str | None,
        link: str | None,
        nagq: str | None,
        sep: str | None,
        decimal: str | None,
        **options: Any,
    ) -> None:
        columns = {"weights": weights, "offset": offset}
        asked = Asked(
            data,
            formula,
            not ml and family is None,
            columns,
            _family(family, link, nagq),
            _nodes(nagq),
            {"sep": sep, "decimal": decimal},
        )
        command(asked, **options)

    return with_model


def _family(name: str | None, link: str | None, nagq: str | None) -> Family | None:
    """Return the family of a generalised model; None if a linear one is asked for."""
    if name is None:
        for option, value in (("--link", link), ("--nagq", nagq)):
            if value is not None:
                raise click.UsageError(
                    f"{option} is for generalised models; name their family with --family too."
                )
        return None
    from pymackay.family.named import family_of

    family = family_of(name)
    return family if link is None else type(family)(link)


def _nodes(nagq: str | None) -> int | str:
    """Return the number of nodes; `pymackay.glmer` refuses other words than ``"exact"``."""
    if nagq is None:
        return 1
    return int(nagq) if nagq.isdecimal() else nagq
