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
# # MacKay's loop on counts and yes/no answers
#
# The page *What MacKay's loop does to a mixed model* is about linear models, where the loop with
# MacKay's divisor $\gamma$ ends at the REML estimate. MacKay also used the loop for classification
# networks (1992). On a generalised linear mixed model, his evidence framework is the method that
# statisticians call *penalised quasi-likelihood* (PQL; Schall 1991, Breslow and Clayton 1993). This
# page shows
#
# 1. how much too small its variances are,
# 2. why, and
# 3. how one change repairs the loop, so that it ends at the optimum of `pm.glmer`.
#
# Every number is computed when the page is built.

# %% tags=["hide-input", "hide-output"]
import numpy as np
import pandas as pd
from IPython.display import display
from mackay_general_plots import draw_group_sizes
from mackay_start import quick, say

import pymackay as pm

pd.set_option("display.width", 120, "display.max_columns", 20, "display.precision", 4)

# %% [markdown]
# ## By how much the variances are too small
#
# The simulated data below have the form of a clinical trial with yes/no answers: 300 patients,
# seven visits each, and a standard deviation of 4 between patients on the logit scale. Most
# patients then give the same answer at nearly every visit, and each of them says little about its
# own effect.


# %%
def trial(seed, patients=300, visits=7, sd=4.0):
    """Yes/no answers of patients who improve with time, half of them treated."""
    random = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(patients), visits),
            "month": np.tile(np.linspace(0.0, 12.0, visits), patients),
        }
    )
    data["treated"] = data["patient"] % 2
    slope = -0.4 - 0.15 * data["treated"]
    eta = -1.0 + slope * data["month"] + sd * random.normal(size=patients)[data["patient"]]
    data["severe"] = (random.random(len(data)) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    return data


formula = "severe ~ treated * month + (1 | patient)"
answers = trial(seed=1)
fits = {
    "loop with modes (PQL)": pm.mackay(formula, answers, family="binomial"),
    "loop with means": pm.mackay(formula, answers, family="binomial", effects="mean"),
    "glmer, Laplace": pm.glmer(formula, answers, "binomial"),
    "glmer, exact likelihood": pm.glmer(formula, answers, "binomial", nagq="exact"),
}
pd.DataFrame(
    {
        name: {"sd of patients": fit.theta.iloc[0], **fit.beta, "-2 log likelihood": fit.criterion}
        for name, fit in fits.items()
    }
).T

# %% tags=["hide-input"]
sds = {name: float(fit.theta.iloc[0]) for name, fit in fits.items()}
pql, mean, laplace, exact = sds.values()
say(
    f"The loop as MacKay has it ends at a standard deviation of {pql:.2f}, where the likelihood "
    f"has its maximum at {exact:.2f} and the truth is 4. The fixed effects are too small too, "
    f"because they depend on the variance. The loop with means ends at {mean:.6f}, the Laplace "
    f"estimate of `pm.glmer` ({laplace:.6f}). The Laplace approximation has an error of its own on "
    f"such data; `nagq=` removes it."
)

# %% [markdown]
# How large the error is depends on how much a group says about its own effect. The figure shows the
# estimated standard deviation for groups of different sizes. The truth is 1.5 (dotted line).

# %%
sizes = (2, 4, 16) if quick else (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)


def grouped(kind, size, seed, sd=1.5, rows=2400):
    """Yes/no answers, or counts of mean one, in groups of one size."""
    random = np.random.default_rng(seed)
    groups = rows // size
    data = pd.DataFrame({"g": np.repeat(np.arange(groups), size)})
    effects = sd * random.normal(size=groups)[data["g"]]
    if kind == "yes/no answers":
        data["y"] = (random.random(len(data)) < 1.0 / (1.0 + np.exp(-effects))).astype(int)
    else:
        data["y"] = random.poisson(np.exp(effects - 0.5 * sd**2))
    return data


def size_rows(kind, family, size):
    """The estimates for one group size, from all three methods."""
    data = grouped(kind, size, seed=size)
    for method, fit in (
        ("modes (PQL)", pm.mackay("y ~ 1 + (1 | g)", data, family=family)),
        ("means", pm.mackay("y ~ 1 + (1 | g)", data, family=family, effects="mean")),
        ("exact likelihood", pm.glmer("y ~ 1 + (1 | g)", data, family, nagq="exact")),
    ):
        yield {"kind": kind, "size": size, "method": method, "sd": float(fit.theta.iloc[0])}


families = {"yes/no answers": "binomial", "counts": "poisson"}
by_size = pd.DataFrame(
    [
        row
        for kind, family in families.items()
        for size in sizes
        for row in size_rows(kind, family, size)
    ]
)
display(draw_group_sizes(by_size, truth=1.5))

# %% tags=["hide-input"]
table = by_size.pivot_table(index=["kind", "size"], columns="method", values="sd")
short = 1.0 - table["modes (PQL)"] / table["exact likelihood"]
say(
    f"With {sizes[0]} yes/no answers in each group, PQL loses "
    f"{short['yes/no answers', sizes[0]]:.0%} of the standard deviation; with {sizes[-1]} it loses "
    f"{short['yes/no answers', sizes[-1]]:.0%}. With counts it loses "
    f"{short['counts', sizes[0]]:.0%} and {short['counts', sizes[-1]]:.0%}."
)

# %% [markdown]
# ## Why
#
# Let $D_i(\eta_i)$ be half the deviance of row $i$ at the linear predictor
# $\eta = X\beta + Z\Lambda u$, with spherical random effects $u$. The loop finds the mode
# $\hat u$, where the second derivatives of $D$ are the weights $W$. With
# $H = \Lambda' Z' W Z \Lambda + I$, Laplace's approximation of $-2$ log likelihood is, up to a
# constant,
#
# $$ C = 2 \sum_i D_i(\hat\eta_i) + \hat u'\hat u + \log |H|. $$
#
# If a variance changes, $\hat u$ moves, so that the weights in $\log |H|$ change. MacKay's
# framework holds the weights at the mode, as if the model were linear. It sets the *partial*
# derivative of $C$ to zero, which gives the $\gamma$ rule
#
# $$ v \leftarrow \frac{v \sum_j \hat u_j^2}{\gamma}, \qquad \gamma = J - \operatorname{tr} H^{-1}.
# $$
#
# The *total* derivative has one more term. Let $s_i$ be the conditional variance of $\eta_i$ and
# $w_i'$ the derivative of the weight by $\eta_i$, and
#
# $$ r = H^{-1} \Lambda' Z' (s_1 w_1', \dots, s_n w_n')'. $$
#
# Where the total derivative is zero, the sum of squares $\sum_j \hat u_j^2$ has become $\sum_j \hat
# u_j (\hat u_j - r_j)$, which to second order is the sum of the squares of $\hat u_j - r_j / 2$.
# This is the posterior *mean* of $u_j$ (Tierney and Kadane 1986): the posterior of a group with few
# yes/no answers is skewed, and its mode is nearer to zero than its mean.

# %% [markdown]
# ## The repair
#
# With `effects="mean"` the loop has posterior means in the place of modes, and in each round
# $\beta$ minimises $C$. All rules are unchanged. `"gamma"` and `"em"` then end at the optimum of
# `pm.glmer`, with its standard errors. The loop takes Anderson's accelerated steps; without
# acceleration the weak information of small groups makes it slow:

# %%
options = {"family": "binomial", "effects": "mean"}
slow = pm.mackay(formula, answers, acceleration=False, **options)
loops = {"accelerated": fits["loop with means"], "rule alone": slow}
pd.DataFrame(
    {
        name: {
            "rounds": len(fit.trace),
            "sd": fit.theta.iloc[0],
            "criterion minus glmer's": fit.criterion - fits["glmer, Laplace"].criterion,
        }
        for name, fit in loops.items()
    }
).T.style.format({"rounds": "{:.0f}", "sd": "{:.8f}", "criterion minus glmer's": "{:.0e}"})

# %% [markdown]
# `variance_gap` splits the variance of a `glmer` fit into the part that the posterior means show
# and the conditional variance that remains. At the optimum nothing is left over (`residue`), so the
# split is also a certificate that does not depend on the search:

# %%
columns = ["effect", "variance", "prediction_variance", "error_variance", "residue", "hidden_share"]
gap = pm.variance_gap(fits["glmer, Laplace"])
gap[[*columns, "gamma"]]

# %% tags=["hide-input"]
modes = float((fits["glmer, Laplace"].ranef["patient"] ** 2).mean().iloc[0])
row = gap.iloc[0]
say(
    f"With the modes alone the two parts add up to only "
    f"{(modes + row['error_variance']) / row['variance']:.0%} of the variance."
)

# %% [markdown]
# ## On data sets of lme4
#
# Standard deviations of the random effects by both loops and by `pm.glmer`:

# %%
models = {
    "cbpp": ("cbind(incidence, size - incidence) ~ period + (1 | herd)", "binomial"),
    "grouseticks": ("TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)", "poisson"),
}
if not quick:
    models["VerbAgg"] = ("r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", "binomial")


def model_rows(name):
    """The standard deviations of one data set."""
    text, family = models[name]
    data = pm.load_data(name)
    quasi = pm.mackay(text, data, family=family)
    means = pm.mackay(text, data, family=family, effects="mean")
    optimum = pm.glmer(text, data, family)
    for term in optimum.varcorr:
        sd = [float(np.sqrt(fit.varcorr[term].iloc[0, 0])) for fit in (quasi, means, optimum)]
        rounds = f"{len(quasi.trace)}, {len(means.trace)}"
        yield dict(zip(("data", "term", "modes", "means", "glmer", "rounds"),
                       (name, term, *sd, rounds), strict=True))  # fmt: skip


found = pd.DataFrame([row for name in models for row in model_rows(name)])
found.style.hide(axis="index").format(precision=6)

# %% tags=["hide-input"]
worst = (found["means"] / found["glmer"] - 1.0).abs().max()
say(f"The loop with means differs from `pm.glmer` by {worst:.0e} at most, relative.")

# %% [markdown]
# ## Conclusions
#
# - A penalty from MacKay's loop on a classifier is too strong where single weights are known badly
#   by their data: the variances of the weights are too small.
# - A fit with `effects="mode"` says in its summary that it is PQL. Use it to reproduce results of
#   PQL, for example of `glmmPQL` in the R package MASS (which, with the families binomial and
#   Poisson, estimates a dispersion too, unless `lmeControl(sigma = 1)` forbids it).
# - Use `effects="mean"` for the loop, or `pm.glmer`, which ends at the same estimate sooner.
# - Where groups are small, check Laplace's approximation with `nagq=`.
#
# ## Credits
#
# - D. J. C. MacKay (1992). The evidence framework applied to classification networks. *Neural
#   Computation* 4(5), 720–736.
# - R. Schall (1991). Estimation in generalized linear models with random effects. *Biometrika* 78,
#   719–727.
# - N. E. Breslow, D. G. Clayton (1993). Approximate inference in generalized linear mixed models.
#   *Journal of the American Statistical Association* 88, 9–25.
# - L. Tierney, J. B. Kadane (1986). Accurate approximations for posterior moments and marginal
#   densities. *Journal of the American Statistical Association* 81, 82–86.
