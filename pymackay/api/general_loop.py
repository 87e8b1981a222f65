"""`general_loop`: MacKay's loop on a generalised model, from checked arguments to its fit."""

from __future__ import annotations

from collections.abc import Callable

from pymackay.arguments import one_of
from pymackay.errors import ArgumentError
from pymackay.infer.gap.loop_report import general_collapse_error, loop_messages
from pymackay.model.model import Model
from pymackay.results import Fit
from pymackay.solve.loop.general.fit import (
    PRECISION,
    check_dispersion,
    general_fit,
    run_general,
    start_parameters,
)
from pymackay.solve.loop.run import Settings
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.fit import check_size, refuse_separation


def check_general(reml: object, inner: object, solver: object) -> None:
    """Refuse arguments of `pymackay.mackay` that a generalised model does not have.

    Raises
    ------
    ArgumentError
    """
    if reml is not None and reml is not False:
        raise ArgumentError(
            f"reml is {reml!r}, but generalised models have no REML criterion; leave it out."
        )
    if inner != "exact":
        raise ArgumentError(
            f"inner is {inner!r}, but the modes of a generalised model are found exactly only; "
            f"leave it out."
        )
    one_of("solver", solver, ("auto", "exact"))


def general_loop(
    laplace: Laplace,
    effects: object,
    start: object,
    noise_var: object,
    settle: Callable[[Model, float], Settings],
) -> tuple[Fit, Settings]:
    """Run the loop on a generalised model; return its fit and its settings.

    Parameters
    ----------
    laplace : Laplace
    effects : {"mode", "mean"}
    start, noise_var : object
        As `start` and `start_noise_var` of `pymackay.mackay`.
    settle : callable
        Makes the settings for a model and the smallest change that its solver resolves.

    Raises
    ------
    SeparationError
        If the likelihood has no maximum.
    CollapseError
        If a direction of a covariance matrix becomes zero.
    ArgumentError
        If an argument has an invalid value.
    """
    kind = one_of("effects", effects, ("mode", "mean"))
    model = laplace.rows.model
    check_size(laplace.rows)
    refuse_separation(laplace.rows, laplace.family)
    settings = settle(model, PRECISION)
    noise = check_dispersion(laplace, kind, noise_var)
    psi = start_parameters(laplace, start)
    end, covariance = run_general(laplace, kind, psi, settings, noise)
    if end.collapse is not None and settings.raises:
        raise general_collapse_error(model, end.collapse, end.trace)
    return general_fit(end, covariance, kind, loop_messages(model, end, settings)), settings
