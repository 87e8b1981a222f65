"""The cost of the loop on networks of up to a million weights, in ``results/large.json``.

    python -m benchmarks.keras.large --weights 250000 1000000

Two tables of 16 columns, users and items, whose rows are concatenated with four covariates and go
through a hidden layer. Each run is a process of its own, so that its peak memory is its own: the
training without the loop, and the training with the callback.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["RESULTS", "SIZES"]

RESULTS = Path(__file__).with_name("results") / "large.json"
SIZES = (125_000, 250_000, 500_000, 1_000_000)
ROWS, COLUMNS, EPOCHS, BATCH = 100_000, 16, 12, 1000
KINDS = ("none", "probes", "block", "diagonal")


def simulate(weights: int, seed: int = 1) -> tuple[dict[str, np.ndarray], np.ndarray, list[int]]:
    """Return inputs, response and the numbers of users and items; use is long-tailed."""
    rng = np.random.default_rng(seed)
    sizes = [weights * 9 // 10 // COLUMNS, weights // 10 // COLUMNS]
    codes = [rng.choice(n, ROWS, p=_use(rng, n)).astype(np.int32) for n in sizes]
    x = rng.standard_normal((ROWS, 4)).astype(np.float32)
    effects = [0.7 * rng.standard_normal(n)[code] for n, code in zip(sizes, codes, strict=True)]
    mean = x[:, 0] * x[:, 1] + effects[0] * (1.0 + 0.5 * x[:, 2]) + effects[1]
    y = (mean + rng.standard_normal(ROWS)).astype(np.float32)
    return {"x": x, "user": codes[0], "item": codes[1]}, y, sizes


def _use(rng: np.random.Generator, n: int) -> np.ndarray:
    use = rng.gamma(1.0, size=n)
    return use / use.sum()


def measure(weights: int, kind: str) -> dict[str, Any]:
    """Train a network, with the callback unless `kind` is ``"none"``; return the costs."""
    import keras

    import pymackay as pm

    inputs, y, sizes = simulate(weights)
    keras.utils.set_random_seed(1)
    model = _network(sizes)
    callbacks = []
    if kind != "none":
        names = {"user": "user_table", "item": "item_table", "hidden": "hidden/kernel"}
        groups = pm.keras.WeightGroups(model, names | {"output": "output/kernel"})
        callbacks = [pm.keras.MacKay(groups, curvature=kind, every=3, start_after=3)]
    began = time.process_time()
    model.fit(inputs, y, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=callbacks)
    result: dict[str, Any] = {
        "cpu": time.process_time() - began,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "weights": int(model.count_params()),
    }
    if callbacks:
        table = callbacks[0].groups.set_index("name")
        result["updates"] = len(callbacks[0].trace)
        result |= {name: table[name].to_dict() for name in ("sd", "gamma", "gamma_error")}
    return result


def _network(sizes: list[int]) -> Any:
    import keras

    layers = keras.layers
    inputs = {"x": keras.Input((4,), name="x")}
    parts = [inputs["x"]]
    for name, size in zip(("user", "item"), sizes, strict=True):
        inputs[name] = keras.Input((), dtype="int32", name=name)
        parts.append(layers.Embedding(size, COLUMNS, name=f"{name}_table")(inputs[name]))
    value = layers.Dense(32, activation="tanh", name="hidden")(layers.Concatenate()(parts))
    model = keras.Model(inputs, layers.Dense(1, name="output")(value))
    model.compile(keras.optimizers.Adam(0.003), loss="mse", jit_compile=False)
    return model


def main() -> None:
    """Measure what the command line asks for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(int(asked.one[0]), asked.one[1])))
        return
    environment = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"} | dict(os.environ)
    for weights in asked.weights:
        for kind in asked.kinds:
            command = [sys.executable, "-m", "benchmarks.keras.large", "--one", str(weights), kind]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
            result = json.loads(done.stdout.splitlines()[-1])
            kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
            kept[f"{weights}/{kind}"] = result
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            print(f"{weights:,}, {kind}: {result['cpu']:.1f} CPU s, {result['peak']:.2f} GiB")


if __name__ == "__main__":
    main()
