"""laplace-torch's training by the marginal likelihood on the network of a task.

`laplace.marglik_training` (Immer et al. 2021, arXiv:2104.04975) re-estimates a prior precision for
each parameter tensor, biases included, and the noise, by gradient steps on Laplace's evidence. A
table is a linear layer of the levels' indicators, since its curvature has no embeddings.

It runs in a process of its own, ``python -m benchmarks.keras.torch_peer TASK SEED STRUCTURE``,
because PyTorch and TensorFlow cannot be loaded into the same one everywhere.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.keras.answer import Answer
from benchmarks.keras.tasks import TASKS, Rows, Task

__all__ = ["LAPLACE"]


def answer(task: Task, seed: int, structure: str) -> Answer:
    """Run the training in another process and read its answer."""
    for package in ("torch", "laplace"):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(name=package)
    command = [sys.executable, "-m", "benchmarks.keras.torch_peer"]
    done = subprocess.run(
        [*command, task.name, str(seed), structure], stdout=subprocess.PIPE, check=True
    )
    said = json.loads(done.stdout)
    mean = np.array(said["mean"])
    return Answer(mean, said["noise"], 1, {"sd": said["sd"]}, said["cpu"])


def marginal_likelihood(task: Task, seed: int, structure: str) -> dict[str, Any]:
    """Train with a prior precision per tensor, updated every fifth epoch after ten."""
    import torch
    from laplace.curvature import CurvlinopsGGN
    from laplace.marglik_training import marglik_training

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    began = time.process_time()
    rows, y = _tensor(task.train, task), torch.from_numpy(task.train.y[:, None])
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(rows, y), batch_size=task.batch, shuffle=True
    )
    laplace, model, _, _ = marglik_training(
        _network(task),
        loader,
        likelihood="regression",
        hessian_structure=structure,
        backend=CurvlinopsGGN,
        optimizer_kwargs={"lr": task.rate},
        n_epochs=task.epochs,
        n_epochs_burnin=10,
        marglik_frequency=5,
        prior_structure="layerwise",
    )
    cpu = time.process_time() - began
    with torch.no_grad():
        mean = model(_tensor(task.test, task)).numpy()[:, 0]
    names = [name for name, _ in model.named_parameters()]
    sd = laplace.prior_precision.detach().numpy().ravel() ** -0.5
    return {
        "mean": mean.tolist(),
        "noise": float(laplace.sigma_noise.detach()) ** 2,
        "sd": dict(zip(names, map(float, sd), strict=True)),
        "cpu": cpu,
    }


def _tensor(rows: Rows, task: Task) -> Any:
    """Return covariates and indicators of the levels side by side, (n, columns)."""
    import torch

    parts = [rows.x]
    for name, size in task.levels.items():
        parts.append(np.eye(size, dtype=np.float32)[rows.codes[name]])
    return torch.from_numpy(np.concatenate(parts, axis=1))


def _network(task: Task) -> Any:
    """Return the task's network in PyTorch, with Keras' initial values."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [task.train.x.shape[1], *task.hidden]
            layers: list[Any] = []
            for before, after in itertools.pairwise(sizes):
                layers += [nn.Linear(before, after), nn.Tanh()]
            self.hidden = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
            self.tables = nn.ModuleDict(
                {name: nn.Linear(size, 1, bias=False) for name, size in task.levels.items()}
            )
            for layer in self.hidden:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
            for table in self.tables.values():
                nn.init.uniform_(table.weight, -0.05, 0.05)

        def forward(self, rows: Any) -> Any:
            sizes = [task.train.x.shape[1], *task.levels.values()]
            x, *codes = torch.split(rows, sizes, dim=1)
            value = self.hidden(x)
            for table, code in zip(self.tables.values(), codes, strict=True):
                value = value + table(code)
            return value

    return Network()


LAPLACE = {
    "laplace-torch, diagonal": partial(answer, structure="diag"),
    "laplace-torch, Kronecker": partial(answer, structure="kron"),
}

if __name__ == "__main__":
    name, seed, structure = sys.argv[1:]
    print(json.dumps(marginal_likelihood(TASKS[name](int(seed)), int(seed), structure)))
