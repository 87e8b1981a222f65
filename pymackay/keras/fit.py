"""`fit`: train a network and estimate the prior of every weight group."""

from __future__ import annotations

from typing import Any

import keras

from pymackay.arguments import flag, positive_number, whole_number
from pymackay.errors import ArgumentError
from pymackay.keras.accelerate import can_accelerate
from pymackay.keras.callback import MacKay
from pymackay.keras.evidence import Evidence
from pymackay.keras.network.groups import WeightGroups
from pymackay.keras.network.rows import TrainingRows
from pymackay.keras.polish import polish as run_polish
from pymackay.keras.result import EvidenceFit


def fit(
    model: Any,
    x: Any,
    y: Any = None,
    groups: Any = None,
    *,
    likelihood: str = "gaussian",
    update: Any = "gamma",
    curvature: str = "auto",
    reml: bool = True,
    epochs: int = 60,
    batch_size: int = 128,
    polish: bool | None = None,
    every: int = 5,
    start_after: int = 5,
    sample_weight: Any = None,
    rounds: int = 100,
    tolerance: float | None = None,
    acceleration: bool | None = None,
    probes: int | None = None,
    seed: Any = 0,
    verbose: Any = 0,
) -> EvidenceFit:
    """Train a network and estimate the prior variance of every weight group, without validation.

    The model is trained with the callback `MacKay`: after `start_after` epochs, and then every
    `every` epochs, the network is linearised at its present weights, the effective number γ of
    weights that the data determine is computed for every group, and each prior variance and the
    noise are set anew. With `polish`, rounds of one Gauss-Newton step of all weights and one
    update follow until the variances come to rest: a mixed model then ends at its REML estimates.

    Parameters
    ----------
    model : keras.Model
        Built. If it is not compiled, it is compiled with Adam and the likelihood's loss.
    x, y : arrays, or structures of arrays; or a tf.data.Dataset of batches (x, y) and no y
        Training rows.
    groups : WeightGroups or mapping
        A mapping as `WeightGroups` takes it.
    likelihood : {"gaussian", "bernoulli", "categorical", "poisson"}
        Matches the model's loss: mean squared error; binary or categorical crossentropy; Poisson.
    update : {"gamma", "em", "raw", "diagonal"} or callable
        Rule of the loop, as in `pymackay.mackay`.
    curvature : {"auto", "exact", "probes", "block", "diagonal"}
        How γ is computed from the generalised Gauss-Newton matrix. ``"exact"``: by Cholesky
        factors, the largest table eliminated level by level; time grows with the cube of the
        other weights. ``"probes"``: from random vectors, with a Monte-Carlo error; memory linear
        in weights and rows. ``"block"``: products between layers left out. ``"diagonal"``:
        products between weights left out; the cheapest, and γ too large in dense layers.
        ``"auto"``: ``"exact"`` for small models. For larger ones, ``"probes"`` where the outputs
        are linear in all weights, and in networks with hidden layers ``"block"``, which costs
        little beside the training and predicts as well.
    reml : bool
        Whether weights without a prior are integrated out (REML) or held at their mode (ML).
    epochs, batch_size : int
        Of the training; ``epochs=0`` leaves everything to `polish`.
    polish : bool or None
        None: where the outputs are linear in all weights, or ``epochs=0``. A network with hidden
        layers is left as it was trained: there, polishing takes many times as long as the
        training, and the mode that it finds predicts no better. Not possible with
        ``curvature="block"`` or ``"diagonal"``, where it is left out.
    every, start_after : int
        Epochs between updates, and before the first.
    sample_weight : array of shape (n,), or None
        How many observations each row stands for.
    rounds : int
        Most rounds of polishing.
    tolerance : float or None
        Relative change of variances that ends polishing. None: 1e-9 (1e-4 for weights in float32)
        where the output is linear in all weights and the likelihood is gaussian; otherwise
        polishing ends when the log evidence has changed by less than 0.02 in two rounds.
    acceleration : bool or None
        Whether polishing tries Anderson's proposals, as `pymackay.mackay` does; one that lowers
        the log evidence is taken back. None: where that can be checked exactly, for a network
        that is linear in its weights, with gaussian noise, ``curvature="exact"`` and a rule that
        ends at the likelihood's optimum (``"gamma"``, ``"em"``).
    probes : int or None
        Random vectors of ``curvature="probes"``; None: 8, and 4 from 100,000 weights on.
    seed : int or numpy.random.Generator
        Draws the probes.
    verbose : int or str
        As in ``model.fit``.

    Returns
    -------
    EvidenceFit

    Raises
    ------
    ArgumentError, DataError
        If an argument has a value that it cannot have, or data, loss and likelihood do not fit
        together.

    References
    ----------
    MacKay, D. J. C. (1992). A practical Bayesian framework for backpropagation networks. Neural
    Computation 4(3).
    Immer, A., Bauer, M., Fortuin, V., Rätsch, G., Khan, M. E. (2021). Scalable marginal likelihood
    estimation for model selection in deep learning. arXiv:2104.04975.

    Examples
    --------
    >>> import keras, numpy as np, pymackay as pm
    >>> x = np.random.default_rng(1).normal(size=(60, 3))
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="linear")])
    >>> result = pm.keras.fit(model, x, x.sum(axis=1), {"linear": "linear"}, epochs=0)
    >>> round(float(result.groups["gamma"][0]), 2), result.converged
    (3.00, True)
    """
    groups = groups if isinstance(groups, WeightGroups) else WeightGroups(model, groups)
    if groups.model is not model:
        raise ArgumentError("groups are the WeightGroups of another model.")
    end = None if tolerance is None else positive_number("tolerance", tolerance)
    rows = TrainingRows(x, y, sample_weight)
    callback = MacKay(
        groups,
        likelihood=likelihood,
        update=update,
        curvature=curvature,
        every=every,
        start_after=start_after,
        reml=reml,
        probes=probes,
        seed=seed,
        data=x if y is None else (x, y, sample_weight),
    )
    evidence = callback.evidence
    _compile(model, evidence, rows)
    history = _train(callback, (x, y, sample_weight), epochs, batch_size, verbose)
    evidence.begin(rows)
    rested = False
    polishing = evidence.linear or not history if polish is None else flag("polish", polish)
    if polishing:
        larger = _acceleration(evidence, acceleration)
        rested = run_polish(evidence, rows, whole_number("rounds", rounds), end, larger)
    if not evidence.updates:
        evidence.advance(evidence.snapshot(rows))
    return _result(callback, history, rested)


def _acceleration(evidence: Evidence, acceleration: bool | None) -> bool:
    """Return whether polishing is accelerated.

    Raises
    ------
    ArgumentError
        If it is asked for where no step can be checked.
    """
    possible = can_accelerate(evidence)
    if acceleration is None:
        return possible
    if flag("acceleration", acceleration) and not possible:
        raise ArgumentError(
            "acceleration=True needs a network that is linear in its weights, gaussian noise, "
            "curvature='exact' and update='gamma' or 'em', where each step can be checked against "
            "the evidence. Other loops take the steps of their rule only; leave it out."
        )
    return acceleration


def _compile(model: Any, evidence: Evidence, rows: TrainingRows) -> None:
    """Compile a model that is not, with Adam and the loss that suits its last layer."""
    if getattr(model, "optimizer", None) is not None:
        return
    family = evidence.family
    chunk = next(iter(rows.chunks()))
    evidence.linearisation.glance(chunk.x)
    logits = not evidence.linearisation.means
    if family.name == "bernoulli":
        model.compile("adam", loss=keras.losses.BinaryCrossentropy(from_logits=logits))
    elif family.name == "categorical":
        flat = chunk.y.ndim == 1 or chunk.y.shape[-1] == 1
        kind = "SparseCategoricalCrossentropy" if flat else "CategoricalCrossentropy"
        model.compile("adam", loss=getattr(keras.losses, kind)(from_logits=logits))
    else:
        model.compile("adam", loss=family.losses[0])


def _train(
    callback: MacKay, data: tuple[Any, Any, Any], epochs: Any, batch_size: Any, verbose: Any
) -> dict[str, list[float]]:
    """Train with the callback; return what Keras recorded."""
    if not whole_number("epochs", epochs, 0):
        return {}
    x, y, weight = data
    batch = {} if y is None else {"batch_size": whole_number("batch_size", batch_size)}
    model = callback.evidence.groups.model
    record = model.fit(
        x, y, sample_weight=weight, epochs=epochs, callbacks=[callback], verbose=verbose, **batch
    )
    return {name: [float(one) for one in values] for name, values in record.history.items()}


def _result(callback: MacKay, history: dict[str, list[float]], rested: bool) -> EvidenceFit:
    evidence = callback.evidence
    plan = evidence.plan
    return EvidenceFit(
        groups=callback.groups,
        covariance=callback.covariance,
        noise=callback.noise,
        trace=callback.trace,
        log_evidence=callback.log_evidence,
        converged=rested or callback.converged,
        curvature="" if plan is None else f"{plan.kind}, {plan.reason}",
        messages=callback.messages,
        lost=dict(evidence.lost),
        literal=callback.forecast(),
        model=evidence.groups.model,
        history=history,
    )
