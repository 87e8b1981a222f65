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
# # What MacKay's loop does to a mixed model
#
# A neural network's weights want a penalty. Which one? Hinton's lecture 9f has "MacKay's quick and
# dirty method": learn the weights, take the variance of the weights as their prior variance and the
# variance of the residuals as the noise, and do it again, *while not yet bored*. The weights of a
# mixed model are its random effects, so that the same loop estimates variance components, which is
# what lme4 does by REML. In 2019 Ben Ogorek ran it on `sleepstudy` in TensorFlow and was left with
# three questions:
#
# 1. Why are the variances too small?
# 2. By what factor should they be scaled up?
# 3. Why does the loop break down when the effects may correlate?
#
# The answers, each computed below when this page is built:
#
# 1. **Predictions vary less than what they predict.** By the law of total variance
#    $\operatorname{Var}(b) = \operatorname{Var}\,E(b|y) + E\operatorname{Var}(b|y)$, and the
#    literal loop drops the second term.
# 2. **By $J/\gamma$, in every round**, $J$ levels, of which $\gamma$ are well determined. It is the
#    divisor that MacKay himself has, and with it the loop *is* REML. Applied once at the end, the
#    factor is too late.
# 3. **A direction dies unless its signal-to-noise ratio is 3 or more.** The loop takes its
#    variance $t$ (in units of the sampling variance) to $(t/(1+t))^2 s$, and this has a positive
#    fixed point only from $s = 4$ on. Correlated effects have directions of their own, and one of
#    `sleepstudy`'s is under it.

# %% tags=["hide-input", "hide-output"]
import functools
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path.cwd()), str(Path.cwd().parent)]  # the checkout, wherever this is run

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from mackay_plots import draw_loop_map, draw_path, draw_phase, draw_study

import pymackay as pm
from benchmarks.collapse_study import SNR, STUDIES, run_study, threshold
from pymackay.infer.gap.forecast import fixed_point

# the page as a test runs it: fewer data sets, real and simulated
quick = bool(os.environ.get("PYMACKAY_QUICK_PAGE"))

pd.set_option("display.width", 120, "display.max_columns", 20, "display.precision", 6)
pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))  # TensorFlow's greeting: here


def say(text: str) -> None:
    """Show prose that has computed numbers in it."""
    display(Markdown(text))


models = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "sleepstudy, ||": "Reaction ~ Days + (Days || Subject)",
    "Dyestuff": "Yield ~ 1 + (1 | Batch)",
    "Dyestuff2": "Yield ~ 1 + (1 | Batch)",
    "Penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "Pastes": "strength ~ 1 + (1 | batch / cask)",
    "cake": "angle ~ recipe * temperature + (1 | recipe:replicate)",
    "Orthodont": "distance ~ age + (age | Subject)",
    "Oxboys": "height ~ age + I(age^2) + (age + I(age^2) | Subject)",
    "Machines": "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)",
    "Rail": "travel ~ 1 + (1 | Rail)",
    "Oats": "yield ~ nitro + (1 | Block / Variety)",
    "Pixel": "pixel ~ day + I(day^2) + (day | Dog) + (1 | Side:Dog)",
    "VerbAgg": "as.numeric(resp) ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
    "InstEval": "y ~ service + (1 | s) + (1 | d)",
}
if quick:
    some = ("sleepstudy", "sleepstudy, ||", "Dyestuff", "Dyestuff2", "Penicillin", "Pastes")
    models = {name: models[name] for name in some}


@functools.cache
def reml_of(model):
    """The REML fit."""
    return pm.lmer(models[model], pm.load_data(model.split(",")[0]))


@functools.cache
def loop_of(model, rule):
    """The loop; a literal one starts from the REML estimate, and goes on after a collapse."""
    data, options = pm.load_data(model.split(",")[0]), {}
    if rule in ("raw", "diagonal"):
        if all(len(V) == 1 for V in reml_of(model).varcorr.values()) and rule == "diagonal":
            return loop_of(model, "raw")
        begin = None if reml_of(model).singular else reml_of(model).theta
        options = {"start": begin, "iterations": 300, "tolerance": 1e-8}
    return pm.mackay(models[model], data, update=rule, on_collapse="continue", **options)


# %% [markdown]
# ## The loop
#
# One round, at the current covariance matrices $V$ of the random effects and the current noise
# $\sigma^2$:
#
# - predict the effects $\hat B$ ($J$ levels × $q$ effects) and fit $\hat\beta$;
# - set $V$ anew from $\hat B$;
# - set $\sigma^2 \leftarrow \mathrm{SSE} / (n - \operatorname{tr} H)$, $H$ being the matrix that
#   maps the response to the fit.
#
# `pymackay.mackay` has four rules for the middle step. $C_j$ is the error covariance of the
# predictions of level $j$: the prediction error variance under REML, the conditional variance given
# $\beta$ under ML.
#
# | `update=` | rule | whose |
# |---|---|---|
# | `"raw"` | $V \leftarrow \operatorname{cov}(\hat B)$ | the lecture, read literally |
# | `"diagonal"` | $V \leftarrow \operatorname{diag}\operatorname{cov}(\hat B)$ | the article |
# | `"gamma"` | $v \leftarrow \sum \hat b^2/\gamma$, $\gamma = J - \sum_j C_j/v$ | MacKay 1992 |
# | `"em"` | $V \leftarrow (\hat B'\hat B + \sum_j C_j)/J$ | Dempster, Laird, Rubin 1977 |

# %% [markdown]
# ## The article's run
#
# From the article's start, for its 100 rounds, with the correlation forbidden:

# %%
sleep = pm.load_data("sleepstudy")
formula = "Reaction ~ Days + (Days | Subject)"
start = {"start": [[410, 10], [10, 22]], "start_noise_var": sleep["Reaction"].var(ddof=0) / 4}

article = pm.mackay(formula, sleep, update="diagonal", iterations=100, **start)
reml = pm.lmer(formula, sleep)

printed = [302.9045408, 31.08902388, 670.8546961, 251.40510485, 10.46728596]
ours = [*np.diag(article.varcorr["Subject"]), article.sigma**2, *article.beta]
exact = [*np.diag(reml.varcorr["Subject"]), reml.sigma**2, *reml.beta]
names = ["variance of (Intercept)", "variance of Days", "noise", "beta (Intercept)", "beta Days"]
pd.DataFrame({"article": printed, "pymackay": ours, "REML": exact}, index=names).map(
    "{:.8f}".format
)

# %% tags=["hide-input"]
shares = np.diag(article.varcorr["Subject"]) / np.diag(reml.varcorr["Subject"])
say(
    f"Every printed digit comes out, and the variances are too small: {shares[0]:.0%} and "
    f"{shares[1]:.0%} of the REML estimates. With the correlation allowed the loop does not get "
    f"that far:"
)

# %%
try:
    pm.mackay(formula, sleep, update="raw", **start)
except pm.CollapseError as error:
    print(error)

# %%
collapsed = pm.mackay(formula, sleep, update="raw", on_collapse="return", **start)
covariance = reml.varcorr["Subject"].to_numpy()
correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
display(draw_path(collapsed.trace, correlation))

# %% [markdown]
# ## 1. Why the variances are too small
#
# A predicted effect is shrunk towards zero, because its data are not all there is to know. So the
# predictions vary less than the effects, by exactly what the data leave open. At the REML optimum
# $V = (\hat B'\hat B + \sum_j C_j)/J$ to the last digit, and `variance_gap` lays the two parts
# out:

# %%
columns = ["effect", "variance", "prediction_variance", "error_variance", "residue", "hidden_share"]
pm.variance_gap(reml)[[*columns, "gamma"]]

# %% tags=["hide-input"]
gap = pm.variance_gap(reml).set_index("effect")
say(
    f"Shrinkage hides {gap.hidden_share.iloc[0]:.0%} of the intercepts' variance and "
    f"{gap.hidden_share.iloc[1]:.0%} of the slopes'. The literal loop takes the predictions' "
    f"variance for the effects', shrinks the predictions more for it, finds a smaller variance "
    f"still, and so on down to {shares[0]:.0%} and {shares[1]:.0%}, or to nothing."
)

# %% [markdown]
# The $C_j$ matter. R's `ranef(condVar = TRUE)` gives the conditional variances *given* $\beta$;
# they close the gap of a maximum-likelihood fit, and leave one of a REML fit, where $\beta$'s own
# uncertainty counts. What is left over with the right ones tells how far an optimiser stopped
# short:

# %%
ml = pm.lmer(formula, sleep, reml=False)


def residue(fit, errors):
    """What V − (B̂'B̂ + ΣC)/J leaves, relative to V."""
    V = fit.varcorr["Subject"].to_numpy()
    b = fit.ranef["Subject"].to_numpy()
    rest = V - (b.T @ b + errors["Subject"].sum(axis=0)) / len(b)
    return np.abs(np.diag(rest) / np.diag(V)).max()


pd.DataFrame(
    {
        "condvar": [residue(reml, reml.condvar), residue(ml, ml.condvar)],
        "pev": [residue(reml, reml.pev), residue(ml, ml.pev)],
    },
    index=["REML fit", "ML fit"],
).map("{:.1e}".format)

# %%
try:
    theirs = pm.lme4.lmer(formula, sleep)  # R's lme4 as a user gets it, live or recorded
    stopped = pm.evaluate(formula, sleep, theirs.theta)
    display(pm.variance_gap(stopped)[columns])
except pm.PymackayError as error:
    print(f"lme4's own answer cannot be shown here: {error}")

# %% [markdown]
# ## 2. By what factor to scale them up
#
# Compare the mean square $\sum \hat b^2/J$ with MacKay's $\sum\hat b^2/\gamma$: the factor is
# $J/\gamma$. (The sample variance has $J - 1$ for $J$, and its factor is $(J-1)/\gamma$.) In the
# balanced case with sampling variance 1, the share of well-determined effects is
# $\gamma/J = t/(1+t)$, so that the literal map $t \leftarrow (t/(1+t))^2 s$ becomes
# $t \leftarrow (t/(1+t))\,s$, whose fixed point is $s - 1$: the REML estimate.
#
# The factor belongs into *every* round. Applied once, to what the literal loop ended with, it
# turns $t^*$ into $1 + t^*$, which falls short of $s - 1$ by about $1/s$ sampling variances:

# %%
grid = pd.DataFrame({"s": [4.0, 5.0, 8.0, 16.0, 64.0]})
t = fixed_point(grid["s"])
grid["literal t*"], grid["scaled once"], grid["every round"] = t, 1 + t, grid["s"] - 1
grid["short by"] = grid["every round"] - grid["scaled once"]
grid.round(4)

# %% [markdown]
# On data, with a rule of our own for "every round": the literal variance times $J/\gamma$.


# %%
def times_j_over_gamma(term):
    """The literal loop, with the article's missing factor in every round."""
    literal = np.mean(term.predictions**2, axis=0)
    return np.diag(literal * term.n_levels / term.gamma)


def factor_rows(model):
    """Variances of the literal loop, scaled once, scaled in every round, and by REML."""
    fit, loop = reml_of(model), loop_of(model, "diagonal")
    data = pm.load_data(model.split(",")[0])
    every = pm.mackay(models[model], data, update=times_j_over_gamma, tolerance=1e-9)
    for row in pm.variance_gap(loop).itertuples():
        factor = (row.levels - 1) / row.gamma if row.gamma > 1e-6 else np.nan
        literal, divided, reml = (
            found.varcorr[row.term].loc[row.effect, row.effect] for found in (loop, every, fit)
        )
        yield {
            "data": model,
            "term": row.term,
            "effect": row.effect,
            "literal": literal,
            "factor": factor,
            "scaled once": literal * factor,
            "every round": divided,
            "REML": reml,
        }


factors = pd.DataFrame(
    [
        row
        for model in ("sleepstudy, ||", "Penicillin", "InstEval")
        if model in models
        for row in factor_rows(model)
    ]
)
factors.style.hide(axis="index").format(precision=5, na_rep="dead")

# %% tags=["hide-input"]
worst = np.max(np.abs(factors["every round"] / factors["REML"] - 1.0))
alive = factors.dropna()
dead = factors[factors["factor"].isna()]
lost = ", ".join(f"{row.data}, {row.term}" for row in dead.itertuples())
were_lost = (
    f"; a variance that the literal loop has lost is not brought back by any factor ({lost})"
    if lost
    else ""
)
once = (alive["scaled once"] / alive["REML"] - 1.0).abs()
say(
    f"In every round the factor gives REML (to {worst:.0e} here). Once at the end it leaves the "
    f"{len(alive)} living variances up to {once.max():.0%} short of REML{were_lost}."
)

# %% [markdown]
# ### Correlated effects
#
# For a covariance matrix the divisor becomes a matrix, and $V$ must stay one. With
# $G = V/\sigma^2$, $T = \sum_j Z_j'PZ_j$ (so that $\gamma = \operatorname{tr} GT$) and
# $S = \sum_j a_ja_j'$, $a = Z'Py$ (so that $\hat B'\hat B = GSG$), the criterion is stationary
# where $(T - S/\sigma^2)\,G = 0$. `update="gamma"` takes
#
# $$ G \leftarrow A\,G\,A', \qquad
#    A = T^{-1/2}\,R^{1/2}\,T^{1/2}, \quad R = T^{-1/2}(S/\sigma^2)\,T^{-1/2}. $$
#
# For one effect this is MacKay's formula. $G$ stays positive semidefinite whatever the numbers, and
# the rule does not depend on the basis of the effects. Its fixed points are the stationary
# points, also on the boundary: with $M = T^{1/2}GT^{1/2} = FF'$ and $K = R^{1/2}$, $KMK = M$ means
# $KF = FO$ with an orthogonal $O$; then $F'KF = F'F\,O$ is symmetric and positive, by the
# uniqueness of the polar decomposition $O = 1$, and $RF = F$ is the stationarity above. The MM
# update of Zhou, Hu, Zhou and Lange (2019), $M \leftarrow (MRM)^{1/2}$, has the same fixed points
# inside the cone and provably never raises the criterion, but moves half as far, and cannot turn a
# $V$ that has become singular. It stands by for the step in which MacKay's would raise the
# criterion.

# %% [markdown]
# ## 3. Why the loop dies when effects may correlate
#
# Take a balanced design and the basis in which the sampling covariance of the per-level
# least-squares effects is the identity. Their sample covariance has eigenvalues $s_k$: each
# direction has the signal-to-noise ratio $s_k - 1$, and the loop takes each by itself,
#
# $$ t \leftarrow \left(\frac{t}{1+t}\right)^2 s, \qquad
#    t^* = \frac12\left(s - 2 + \sqrt{s(s-4)}\right) \text{ from } s = 4 \text{ on}. $$

# %%
forecast = pm.forecast_collapse(reml)
weak, strong = forecast["s"].min(), forecast["s"].max()
display(draw_loop_map((round(weak, 3), 4.0, 7.0)))

# %% [markdown]
# Under $s = 4$ the curve lies below the diagonal, and every path ends at zero. What will happen can
# be told before the loop is run:

# %%
forecast

# %% tags=["hide-input"]
say(
    f"`sleepstudy` has s = {strong:.3f} and {weak:.3f}. The weak direction has an estimated "
    f"signal-to-noise ratio of {weak - 1:.2f}: it is there, and the literal loop destroys it. "
    f"$V$ becomes singular, which shows as a correlation of 1. Forbidding the correlation makes "
    f"both variances mixtures of the two directions, and a mixture is strong enough to live:"
)

# %%
pm.forecast_collapse(reml, update="diagonal")

# %% tags=["hide-input"]
slopes_only = pm.mackay(formula, sleep.assign(Days=sleep["Days"] - 4.5), update="diagonal")
sd = np.sqrt(np.diag(slopes_only.varcorr["Subject"]))
say(
    f"So the fix is no cure. It hides the direction, and where it hides it depends on where zero "
    f"days are: with `Days` counted from the middle of the experiment the same fix gives a slope "
    f"variance of {sd[1] ** 2:.2f} instead of {article.varcorr['Subject'].iloc[1, 1]:.2f} "
    f"(REML, either way: {reml.varcorr['Subject'].iloc[1, 1]:.2f})."
)

# %% [markdown]
# ## Measured against predicted
#
# Simulated data sets, all of a design at once; each is fitted by REML, and the literal loop starts
# from there. On the right the loop's own $\sigma^2$ is used: what a dying direction
# loses goes to the noise, which raises the bar a little.

# %%
studies, count = (STUDIES[::3], 5) if quick else (STUDIES, 200)
study = pd.concat([run_study(one, count) for one in studies], ignore_index=True)
display(draw_study(study))

# %% tags=["hide-input"]
ratio = study["s"] / study["noise_ratio"]
balanced = study["balanced"]
predicted = fixed_point(ratio) * study["noise_ratio"] / np.maximum(study["s"] - 1.0, 1e-9)
error = (study["kept"] - predicted).abs()[study["s"] > 1.001]
agree = ((ratio >= 4.0) == study["survives"])[study["s"] > 1.001]
say(
    f"{len(SNR)} signal-to-noise ratios from {SNR[0]:g} to {SNR[-1]:g}, {len(studies)} designs, "
    f"{count} data sets a point: {len(study):,} directions. Where all levels have the same "
    f"design, s = 4 parts the living from the dead in {agree[balanced].mean():.2%} of them, and "
    f"the share kept is predicted to {error[balanced].max():.0e}. With levels of unequal size one "
    f"s is an approximation: {agree[~balanced].mean():.1%} right, the share kept within "
    f"{error[~balanced].quantile(0.9):.2f} in nine of ten. In terms of REML's own σ² the threshold "
    f"is {threshold(STUDIES[1]):.2f} for 18 levels of 8 rows."
)

# %% [markdown]
# ## The forecast on the data sets
#
# For one grouping factor the forecast runs a reduced loop on a few numbers per level, and is exact
# for balanced designs. For several, each factor's contrasts are parted into those that the others
# leave alone and those they share. `error` is what the forecast says of itself.


# %%
def forecast_rows(model):
    """Forecast and measurement: variance kept, summed over a term's directions."""
    fit, loop = reml_of(model), loop_of(model, "raw")
    for term, rows in pm.forecast_collapse(fit).groupby("term", sort=False):
        V = fit.varcorr[term].to_numpy()
        kept = np.trace(np.linalg.pinv(V, hermitian=True) @ loop.varcorr[term].to_numpy())
        yield {
            "data": model,
            "term": term,
            "s": ", ".join(f"{s:.2f}" for s in rows["s"]),
            "dies": ", ".join(rows["direction"][~rows["survives"]]),
            "forecast": rows["kept"].sum(),
            "measured": kept,
            "error": rows["error"].sum(),
            "exact": rows["exact"].all(),
        }


told = pd.DataFrame(
    [row for model in models if not reml_of(model).singular for row in forecast_rows(model)]
)
told.style.hide(axis="index").format(precision=5)

# %% tags=["hide-input"]
wrong = (told["forecast"] - told["measured"]).abs()
rest = ~told["exact"].astype(bool)
inside = (wrong <= told["error"] + 1e-9)[rest]
say(
    f"Largest difference: {wrong[~rest].max():.0e} where the forecast is exact, "
    f"{wrong[rest].max():.2g} elsewhere. In {inside.sum()} of these {len(inside)} rows it is "
    f"within what the forecast said of itself."
)

# %% [markdown]
# The phase diagram of the loop, with the directions of the data sets for which one s tells all.
# Each begins at its REML estimate (diamond) and ends where the loop was measured to end (dot), or
# dies (arrow):


# %%
def fate_rows(model):
    """Where the loop took each direction of an exactly forecast model."""
    V = reml_of(model).varcorr
    if len(V) > 1 or not pm.forecast_collapse(reml_of(model))["exact"].all():
        return
    ((term, end),) = loop_of(model, "raw").varcorr.items()
    hidden = reml_of(model).condvar[term].mean(axis=0)
    root = np.linalg.cholesky(V[term].to_numpy())
    inverse = np.linalg.inv(root)
    values, axes = np.linalg.eigh(inverse @ hidden @ inverse.T)
    for value, axis in zip(values, axes.T, strict=True):
        kept = axis @ inverse @ end.to_numpy() @ inverse.T @ axis
        yield {"label": model, "s": 1.0 / value, "kept": kept}


fates = pd.DataFrame(
    [row for model in models if not reml_of(model).singular for row in fate_rows(model)]
)
display(draw_phase(fates))

# %% [markdown]
# ## Every rule on every data set
#
# Rounds (with the acceleration that `"gamma"` and `"em"` have by default), the round in which a
# direction was lost, standard deviations at the end, and the largest distance of a variance or
# covariance from REML, in units of the REML variances. Where every term has one effect, `raw` and
# `diagonal` are the same rule.


# %%
def distance(fit, reference):
    """Largest difference of the covariance matrices, in units of the REML variances."""
    found = []
    for term, expected in reference.varcorr.items():
        sd = np.sqrt(np.diag(expected))
        unit = np.where(sd > 0, sd, reference.sigma)
        difference = fit.varcorr[term].to_numpy() - expected.to_numpy()
        found.append(np.abs(difference / np.outer(unit, unit)).max())
    return max(found)


def rule_rows(model):
    """One row a rule."""
    for rule in ("raw", "diagonal", "gamma", "em"):
        loop = loop_of(model, rule)
        sd = np.concatenate([np.sqrt(np.diag(V)) for V in loop.varcorr.values()])
        lost = [m for m in loop.messages if m.startswith("the loop lost")]
        yield {
            "data": model,
            "rule": rule,
            "rounds": len(loop.trace),
            "lost": lost[0].split(" in iteration ")[1].split(":")[0] if lost else "",
            "standard deviations": ", ".join(f"{x:.5g}" if x > 1e-8 else "0" for x in sd),
            "from REML": distance(loop, reml_of(model)),
        }


rules = pd.DataFrame([row for model in models for row in rule_rows(model)])
rules.style.hide(axis="index").format({"from REML": "{:.1e}"})

# %% tags=["hide-input"]
ends = rules.groupby("rule")["from REML"].max()
rounds = rules.groupby("rule")["rounds"].agg(["median", "max"])
say(
    f"MacKay's divisor and EM end at REML in all {len(models)} models, to "
    f"{max(ends['gamma'], ends['em']):.0e}, in {rounds.loc['gamma', 'median']:.0f} and "
    f"{rounds.loc['em', 'median']:.0f} rounds (medians)."
)

# %% [markdown]
# ## What to take home
#
# - Use `pm.mackay(..., update="gamma")`, not the loop as it is told in the lecture. It is REML, in
#   rounds that a neural-network person recognises.
# - If you are to reproduce a literal loop, ask `pm.forecast_collapse` first.
# - A fitted variance of zero, or a correlation of ±1, out of the literal loop says nothing about
#   the data but that the signal-to-noise ratio of some direction is under 3.
#
# ## Credits
#
# - D. J. C. MacKay (1992). Bayesian interpolation. *Neural Computation* 4(3), 415–447: the
#   effective number γ and the re-estimation of variances with it.
# - G. Hinton (2012). *Neural networks for machine learning*, lecture 9f: MacKay's quick and dirty
#   method of setting weight costs.
# - B. Ogorek (2019). *Linear Mixed Models in TensorFlow 2.0 via MacKay's Method*: the idea, the
#   run, and the questions.
# - C. R. Henderson (1950, 1975): mixed-model equations, best linear unbiased prediction and its
#   error variances.
# - H. D. Patterson, R. Thompson (1971). Recovery of inter-block information when block sizes are
#   unequal. *Biometrika* 58, 545–554: REML.
# - A. P. Dempster, N. M. Laird, D. B. Rubin (1977). Maximum likelihood from incomplete data via the
#   EM algorithm. *Journal of the Royal Statistical Society B* 39, 1–38.
# - H. Zhou, L. Hu, J. Zhou, K. Lange (2019). MM algorithms for variance components models.
#   *Journal of Computational and Graphical Statistics* 28(2), 350–361.
# - D. G. Anderson (1965). Iterative procedures for nonlinear integral equations. *Journal of the
#   ACM* 12, 547–560: the acceleration.
