# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A penalty for each layer
#
# A network often has groups of weights that should not be regularised alike. The embedding of 500
# users, each of whom appears in four rows, needs a strong penalty. That of 20 stores with a
# hundred rows each needs hardly any, and an embedding of postcodes that have no effect should be
# shrunk to zero. With one L2 penalty per layer and a validation set, every additional layer
# multiplies the number of trainings of a grid, and the rows of the validation set are missing in
# the training.
#
# MacKay's loop needs one training and no validation set. The weights of a group $k$ are draws from
# a normal distribution with the variance $v_k$, and the responses have the noise variance
# $\sigma^2$. The penalty of the group is then $\sigma^2/v_k$. While the network trains, the loop
# counts how many weights of each group the data determine, $\gamma_k$, and sets
#
# $$v_k \leftarrow \frac{\sum_{i \in k} w_i^2}{\gamma_k}, \qquad
# \sigma^2 \leftarrow \frac{\mathrm{SSE}}{n - p - \sum_k \gamma_k},$$
#
# where $p$ is the number of weights without a prior, such as biases. Numbers and tables on this
# page are computed when it is built; the comparison with other methods is read from the results
# that `python -m benchmarks.keras.run` has stored.

# %% tags=["hide-input", "hide-output"]
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path.cwd()), str(Path.cwd().parent)]  # the checkout, wherever this is run

import keras
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from layer_plots import draw_cost, draw_groups

import pymackay as pm
from benchmarks.keras.report import FRESH, REFERENCE, summary

pd.set_option("display.width", 120, "display.max_columns", 20, "display.precision", 4)
pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))  # TensorFlow's greeting: here


def say(text: str) -> None:
    """Show prose that has computed numbers in it."""
    display(Markdown(text))


# %% [markdown]
# ## Ten lines of Keras
#
# The data are simulated: two covariates that interact, users and stores whose effects have the
# standard deviations 0.7 and 0.5, and postcodes without an effect. The noise has the standard
# deviation 1.

# %%
rng = np.random.default_rng(1)
n, levels = 2000, {"user": 500, "store": 20, "postcode": 100}
x = rng.normal(size=(n, 2)).astype("float32")
codes = {name: rng.integers(0, size, n) for name, size in levels.items()}
effects = {"user": 0.7 * rng.normal(size=500), "store": 0.5 * rng.normal(size=20)}
y = np.sin(2 * x[:, 0]) * x[:, 1] + rng.normal(size=n)
y += sum(effects[name][codes[name]] for name in effects)


# %% [markdown]
# The network has an embedding with one column for each factor, and a hidden layer of the
# covariates:


# %%
def network():
    keras.utils.set_random_seed(1)
    inputs = {"x": keras.Input((2,), name="x")}
    hidden = keras.layers.Dense(16, activation="tanh", name="hidden")(inputs["x"])
    parts = [keras.layers.Dense(1, name="output")(hidden)]
    for name, size in levels.items():
        inputs[name] = keras.Input((), dtype="int32", name=name)
        table = keras.layers.Embedding(size, 1, name=f"{name}_table")
        parts.append(table(inputs[name]))
    return keras.Model(inputs, keras.layers.Add()(parts))


# %% [markdown]
# These are the ten lines. The groups are named, the callback is given to `fit`, and the rest is
# Keras as always. Biases are in no group, so they have no prior.

# %%
model = network()
groups = pm.keras.WeightGroups(model, {
    "user": "user_table",
    "store": "store_table",
    "postcode": "postcode_table",
    "hidden": "hidden/kernel",
    "output": "output/kernel",
})  # fmt: skip
evidence = pm.keras.MacKay(groups, curvature="exact", every=2, start_after=4)
model.compile(keras.optimizers.Adam(0.01), loss="mse")
inputs = {"x": x, **codes}
history = model.fit(inputs, y, batch_size=100, epochs=60, verbose=0, callbacks=[evidence])

# %% [markdown]
# Before the training, the table of the groups says what they contain:

# %%
groups

# %% [markdown]
# After it, the callback says what the data determine. `sd` is the standard deviation of the prior,
# `gamma` the number of weights that the data determine, and `determined` its share of the weights:

# %%
evidence.groups

# %% tags=["hide-input"]
after = evidence.groups.set_index("name")
say(
    f"The users' standard deviation is estimated as {after.sd['user']:.2f} (truth 0.7), the "
    f"stores' as {after.sd['store']:.2f} (truth 0.5; with 20 stores the estimate itself is "
    f"uncertain by a sixth), that of the postcodes without an effect as "
    f"{after.sd['postcode']:.2f}, and the noise's as {evidence.noise**0.5:.2f} (truth 1)."
)
display(draw_groups(evidence.trace, list(levels), {"user": 0.7, "store": 0.5, "postcode": 0.0}))

# %% [markdown]
# `evidence.trace` has a row per update, and `pm.plots.trace(evidence)` draws the variances of all
# groups. The figure shows the standard deviations of the tables; the dashed lines are the true
# values. `evidence.messages` says what is to be known of the result, and what to do about it:

# %%
for message in evidence.messages:
    print(message)

# %% [markdown]
# ## Against searches by validation
#
# The task is larger: 4,000 training rows, six covariates with interactions, tables of 2,000, 60 and
# 400 levels that are used unequally and of which the last has no effect, and two hidden layers of
# 24 units. The error is the root mean square on 10,000 new rows. No method can get below 1, the
# noise's standard deviation. Each method ran on the same ten data sets, none of which was used to
# choose the first prior variances of the loop. *loop* is `pymackay.keras.fit` with its defaults.
# *difference* is a method's error less that of the loop in the line of zeros, with its standard
# error; `ratio` is the CPU time in units of one training without a penalty. In the figure, hollow
# marks are methods that have run on some of the data sets only; their place is the loop's error
# plus the difference on these.

# %% tags=["hide-input"]
simulated = summary("simulated", FRESH)
simulated[["seeds", "rmse", "difference", "se", "log_score", "ratio", "trainings"]].round(4)

# %% tags=["hide-input"]
display(draw_cost(simulated))

# %% tags=["hide-input"]
searches = simulated[simulated["trainings"] > 1]
best = searches.iloc[0]
ours = simulated.loc[REFERENCE]
clear = best["difference"] > 2 * best["se"]
worse = best["difference"] < -2 * best["se"]
verdict = "larger" if clear else "smaller" if worse else "not clearly different"
say(
    f"The mean error of the search with the smallest one, *{searches.index[0]}*, is {verdict}: "
    f"its difference from the loop (*{REFERENCE}*) is {best['difference']:+.4f} ± "
    f"{best['se']:.4f}, at {best['ratio']:.0f} times the CPU time of one training, where the loop "
    f"takes {ours['ratio']:.1f} times. A single L2 penalty from a grid has the difference "
    f"{simulated.difference['one l2, grid']:+.4f} ± {simulated.se['one l2, grid']:.4f}."
)

# %% [markdown]
# The curvature decides what $\gamma$ costs. `"exact"` factorises the matrix of all weights,
# `"probes"` estimates it from random vectors, `"block"` leaves out the products between layers, and
# `"diagonal"` those between all weights. The last is the cheapest and overestimates $\gamma$ in
# dense layers. The page of the benchmark, `benchmarks/KERAS.md`, has another data set and larger
# networks.
#
# The prior variances before the first update matter, because a network with hidden layers that has
# overfitted does not come back from every optimum. They are 3 % of the variance of the response
# unless `{"weights": ..., "start": ...}` says otherwise. That share was chosen on ten other data
# sets than those of the table; with a third of it, the error on one of them was 1.23 instead of
# 1.18, and with all of the variance it was larger by 0.004 on average.
#
# ## When the loop lies, and how you see it
#
# Hinton's lecture describes the loop without $\gamma$: it takes the variance of the weights as the
# prior variance. The weights have been shrunk, so their variance is too small, and the next penalty
# is too large. Where the data say little about each weight, the variance goes to zero, even if the
# group has a real effect. `update="raw"` is this literal loop. `forecast()` of a run with
# $\gamma$ says which groups it would lose, and what share of the variance it would keep:

# %%
evidence.forecast()

# %% [markdown]
# Here is what it does:

# %%
literal_model = network()
literal_groups = pm.keras.WeightGroups(
    literal_model, {**{name: f"{name}_table" for name in levels}, "hidden": "hidden/kernel",
                    "output": "output/kernel"}
)  # fmt: skip
literal = pm.keras.MacKay(literal_groups, update="raw", curvature="exact", every=2, start_after=4)
literal_model.compile(keras.optimizers.Adam(0.01), loss="mse")
literal_model.fit(inputs, y, batch_size=100, epochs=60, verbose=0, callbacks=[literal])
literal.groups

# %% tags=["hide-input"]
raw, tables = literal.groups.set_index("name"), list(levels)
forecast = evidence.forecast().set_index("group")
dead = [name for name in tables if raw.sd[name] < 0.01 * after.sd[name]]
expected = [name for name in tables if not forecast.survives[name]]
say(
    f"The forecast for the tables was that the loop loses {' and '.join(expected)}; it has lost "
    f"{' and '.join(dead)}. The users' standard deviation is {raw.sd['user']:.3f} (truth 0.7). "
    "Nothing in the training shows that this is wrong: the network still fits, only worse on new "
    "rows. For hidden layers the forecast is a guide only, because their curvature changes with "
    "the weights of the other layers."
)

# %% [markdown]
# The loop with $\gamma$ has limits too, and says so in its messages:
#
# - *The weights are not at the mode*: the training was too short. $\sum w^2$ is then that of
#   unfinished weights, and the noise is too large. Train longer.
# - *A group without a scale of its own*: before a normalisation, or between ReLU layers, a factor
#   can be moved from one layer to the next, so the size of the weights of one alone means nothing.
#   Put both layers into one group.
# - *$\gamma$ from probes has a Monte-Carlo error*: `gamma_error` is its standard error.
# - *As many effective weights as rows*: the noise cannot be told from the weights.
#
# ## lmer inside Keras
#
# A network with one embedding per grouping factor and one linear layer is a mixed model. There the
# answer is known: the REML estimate of `lmer`. The embedding has two columns here, the intercept
# and the slope of each subject, and a full covariance matrix:

# %%
sleep = pm.load_data("sleepstudy")
days = sleep[["Days"]].to_numpy(float)
subject = sleep["Subject"].astype("category").cat.codes.to_numpy()

day = keras.Input((1,), dtype="float64")
level = keras.Input((), dtype="int32")
effect = keras.layers.Embedding(18, 2, name="subject_table", dtype="float64")(level)
slope = keras.layers.Dot(axes=1, dtype="float64")([effect[:, 1:], day])
fixed = keras.layers.Dense(1, name="fixed", dtype="float64")(day)
mixed = keras.Model([day, level], keras.layers.Add(dtype="float64")([fixed, effect[:, :1], slope]))

fit = pm.keras.fit(
    mixed,
    [days, subject],
    sleep["Reaction"].to_numpy(float),
    {"Subject": {"weights": "subject_table", "covariance": "full"}},
    curvature="exact",
    epochs=0,
)
reml = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)

# %% tags=["hide-input"]
V, reference = fit.covariance["Subject"].to_numpy(), reml.varcorr["Subject"].to_numpy()
kernel, bias = (np.asarray(weight).ravel()[0] for weight in mixed.get_layer("fixed").weights)
digits = pd.DataFrame(
    {
        "network": [V[0, 0], V[1, 0], V[1, 1], fit.noise, bias, kernel],
        "pm.lmer": [*reference[np.tril_indices(2)], reml.sigma**2, *reml.beta],
    },
    index=[
        "variance of intercepts",
        "covariance",
        "variance of slopes",
        "noise variance",
        "fixed intercept",
        "fixed slope",
    ],
)
digits["relative difference"] = digits["network"] / digits["pm.lmer"] - 1.0
display(digits.style.format({"network": "{:.8f}", "pm.lmer": "{:.8f}",
                             "relative difference": "{:.1e}"}))  # fmt: skip
say(
    "The network ends at the REML estimates; the largest relative difference is "
    f"{digits['relative difference'].abs().max():.1e}."
)
