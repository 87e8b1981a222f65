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
# A neural network with a separate weight penalty for each group of weights needs values for these
# penalties. Hinton's lecture 9f describes "MacKay's quick and dirty method": train the weights,
# take the sample variance of the weights in a group as their prior variance and the variance of the
# residuals as the noise variance, and repeat. The random effects of a mixed model correspond to the
# weights of such a network. The same loop therefore estimates variance components, which lme4
# estimates by REML. In 2019 Ben Ogorek ran the loop in TensorFlow on the data set `sleepstudy`
# (reaction times of 18 subjects over ten days). His article left three questions open:
#
# 1. Why are the variances too small?
# 2. By what factor should they be scaled up?
# 3. Why does the loop break down when the random effects may be correlated?
#
# This page answers them. Every number is computed when the page is built.
#
# 1. **Predicted effects vary less than the effects themselves.** By the law of total variance,
#    $\operatorname{Var}(b) = \operatorname{Var}\,E(b|y) + E\operatorname{Var}(b|y)$. The loop as
#    described in the lecture, here called the *literal* loop, uses only the first term.
# 2. **The factor is $J/\gamma$, and it must be applied in every round.** Here $J$ is the number of
#    levels (subjects) and $\gamma$ the effective number of well-determined effects. MacKay's paper
#    divides by $\gamma$. With this divisor the loop converges to the REML estimate. A single
#    correction after the last round does not reach it.
# 3. **The literal loop reduces a variance to zero if the signal-to-noise ratio is too small.** Let
#    $t$ be the variance of a direction, that is, of a linear combination of the random effects, in
#    units of its sampling variance. One round maps $t$ to $(t/(1+t))^2 s$, where $s - 1$ is the
#    estimated signal-to-noise ratio. This map has a positive fixed point only if $s \ge 4$. If
#    effects may be correlated, the loop acts on each direction separately. `sleepstudy` has one
#    direction with $s < 4$.

# %% tags=["hide-input", "hide-output"]
import numpy as np
import pandas as pd
from IPython.display import display
from mackay_fits import factor_rows, fate_rows, forecast_rows, models, reml_of, residue, rule_rows
from mackay_plots import draw_loop_map, draw_path, draw_phase, draw_study
from mackay_start import quick, say

import pymackay as pm
from benchmarks.collapse_study import SNR, STUDIES, run_study, threshold
from pymackay.infer.gap.forecast import fixed_point

pd.set_option("display.width", 120, "display.max_columns", 20, "display.precision", 6)

# %% [markdown]
# ## The loop
#
# The model is $y = X\beta + Zb + \varepsilon$. The noise $\varepsilon$ has variance $\sigma^2$. For
# each level $j$ of the grouping factor, the $q$ random effects have the covariance matrix $V$. One
# round of the loop starts with the current $V$ and $\sigma^2$:
#
# - Predict the random effects, $\hat B$ ($J$ levels × $q$ effects), and estimate $\hat\beta$.
# - Compute a new $V$ from $\hat B$.
# - Set $\sigma^2 \leftarrow \mathrm{SSE} / (n - \operatorname{tr} H)$. SSE is the residual sum of
#   squares, $n$ the number of rows, and $H$ the hat matrix, which maps the response to the fitted
#   values.
#
# `pymackay.mackay` offers four rules for the second step. In the table, $C_j$ is the error
# covariance of the predictions for level $j$. Under REML it is the prediction error variance, and
# under maximum likelihood the conditional variance given $\beta$.
#
# | `update=` | rule | source |
# |---|---|---|
# | `"raw"` | $V \leftarrow \operatorname{cov}(\hat B)$ | Hinton's lecture |
# | `"diagonal"` | $V \leftarrow \operatorname{diag}\operatorname{cov}(\hat B)$ | Ogorek's article |
# | `"gamma"` | $v \leftarrow \sum \hat b^2/\gamma$, $\gamma = J - \sum_j C_j/v$ | MacKay 1992 |
# | `"em"` | $V \leftarrow (\hat B'\hat B + \sum_j C_j)/J$ | Dempster, Laird, Rubin 1977 |
#
# The first two are the literal loop, with and without correlations. In the row of `"gamma"`, $v$ is
# the variance of a single effect.

# %% [markdown]
# ## Reproducing the article
#
# The article starts from fixed variances, forbids correlations (`update="diagonal"`), and runs 100
# rounds. The table compares its printed numbers with this package and with REML:

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
    f"All printed digits are reproduced. The two variances are too small: they are "
    f"{shares[0]:.0%} and {shares[1]:.0%} of the REML estimates. If the correlation is estimated "
    f"too (`update='raw'`), the loop ends in an error:"
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
# The figure shows how far the correlation of intercept and slope is from 1 after each round (on a
# logarithmic scale). The dashed line is the REML estimate.

# %% [markdown]
# ## 1. Why the variances are too small
#
# A predicted random effect is a compromise between the data of its level and the population mean of
# zero, so it is shrunk towards zero. Predictions therefore vary less than the effects. The
# difference is the uncertainty that remains about the effects given the data. At the REML optimum,
# $V = (\hat B'\hat B + \sum_j C_j)/J$ holds exactly. `variance_gap` shows both parts:

# %%
columns = ["effect", "variance", "prediction_variance", "error_variance", "residue", "hidden_share"]
pm.variance_gap(reml)[[*columns, "gamma"]]

# %% tags=["hide-input"]
gap = pm.variance_gap(reml).set_index("effect")
say(
    f"Because of shrinkage, {gap.hidden_share.iloc[0]:.0%} of the variance of the intercepts and "
    f"{gap.hidden_share.iloc[1]:.0%} of the variance of the slopes are missing from the "
    f"predictions (`hidden_share`). The literal loop uses the variance of the predictions as the "
    f"new variance of the effects. This causes more shrinkage in the next round, which gives an "
    f"even smaller variance. The loop ends at {shares[0]:.0%} and {shares[1]:.0%} of the REML "
    f"estimates, or, with correlations, at a singular covariance matrix."
)

# %% [markdown]
# The identity depends on the right $C_j$. `ranef(condVar = TRUE)` in R returns conditional
# variances *given* $\beta$ (here `condvar`). With them the identity holds for a maximum-likelihood
# fit. For a REML fit, the uncertainty of $\hat\beta$ must be included (here `pev`). The next table
# gives the largest relative error of the identity for both kinds of fit:

# %%
ml = pm.lmer(formula, sleep, reml=False)


pd.DataFrame(
    {
        "condvar": [residue(reml, reml.condvar), residue(ml, ml.condvar)],
        "pev": [residue(reml, reml.pev), residue(ml, ml.pev)],
    },
    index=["REML fit", "ML fit"],
).map("{:.1e}".format)

# %% [markdown]
# With the right $C_j$, the error of the identity shows how far from the optimum an optimiser has
# stopped. This is the table for lme4 with default settings; see the column `residue`:

# %%
try:
    theirs = pm.lme4.lmer(formula, sleep)  # with default settings, live or recorded
    stopped = pm.evaluate(formula, sleep, theirs.theta)
    display(pm.variance_gap(stopped)[columns])
except pm.PymackayError as error:
    print(f"The answer of lme4 is not available here: {error}")

# %% [markdown]
# ## 2. By what factor to scale them up
#
# The literal rule uses the mean square $\sum \hat b^2/J$, MacKay's rule $\sum\hat b^2/\gamma$. The
# factor between them is $J/\gamma$. (The sample variance has the divisor $J - 1$; its factor is
# $(J-1)/\gamma$.)
#
# Consider a balanced design and measure variances in units of the sampling variance. The share of
# well-determined effects is then $\gamma/J = t/(1+t)$. With the factor, the literal map
# $t \leftarrow (t/(1+t))^2 s$ becomes $t \leftarrow (t/(1+t))\,s$. Its fixed point is $t = s - 1$,
# which is the REML estimate.
#
# The factor must be applied in *every* round. If it is applied once, to the final result $t^*$ of
# the literal loop, it gives $1 + t^*$. This is smaller than $s - 1$ by about $1/s$:

# %%
grid = pd.DataFrame({"s": [4.0, 5.0, 8.0, 16.0, 64.0]})
t = fixed_point(grid["s"])
grid["literal t*"], grid["scaled once"], grid["every round"] = t, 1 + t, grid["s"] - 1
grid["short by"] = grid["every round"] - grid["scaled once"]
grid.round(4)

# %% [markdown]
# The same comparison on real data. `update=` also accepts a function. The one below multiplies the
# literal variance by $J/\gamma$ in every round.


# %%
def times_j_over_gamma(term):
    """The literal rule, multiplied by J/γ."""
    literal = np.mean(term.predictions**2, axis=0)
    return np.diag(literal * term.n_levels / term.gamma)


factors = pd.DataFrame(
    [
        row
        for model in ("sleepstudy, ||", "Penicillin", "InstEval")
        if model in models
        for row in factor_rows(model, times_j_over_gamma)
    ]
)
factors.style.hide(axis="index").format(precision=5, na_rep="collapsed")

# %% tags=["hide-input"]
worst = np.max(np.abs(factors["every round"] / factors["REML"] - 1.0))
positive = factors.dropna()
collapsed_rows = factors[factors["factor"].isna()]
lost = ", ".join(f"{row.data}, {row.term}" for row in collapsed_rows.itertuples())
were_lost = (
    f" No factor can restore a variance that has collapsed to zero in the literal loop ({lost})."
    if lost
    else ""
)
once = (positive["scaled once"] / positive["REML"] - 1.0).abs()
say(
    f"Applied in every round, the factor gives the REML estimates (largest relative difference "
    f"{worst:.0e}). Applied once at the end, it leaves the {len(positive)} positive variances up "
    f"to {once.max():.0%} below REML.{were_lost}"
)

# %% [markdown]
# ### Correlated effects
#
# For several correlated effects the divisor becomes a matrix, and $V$ must remain positive
# semidefinite. Let
#
# - $P$ be the matrix for which $Py$ is the residual $y - X\hat\beta$ weighted by the inverse
#   covariance of $y$ (in units of $\sigma^2$),
# - $G = V/\sigma^2$ be the covariance of the effects relative to the noise,
# - $T = \sum_j Z_j'PZ_j$, so that $\gamma = \operatorname{tr} GT$,
# - $S = \sum_j a_ja_j'$ with $a = Z'Py$, so that $\hat B'\hat B = GSG$.
#
# The criterion is stationary where $(T - S/\sigma^2)\,G = 0$. The rule `update="gamma"` is
#
# $$ G \leftarrow A\,G\,A', \qquad
#    A = T^{-1/2}\,R^{1/2}\,T^{1/2}, \quad R = T^{-1/2}(S/\sigma^2)\,T^{-1/2}. $$
#
# For a single effect this is MacKay's formula. $G$ always remains positive semidefinite, and the
# rule does not depend on the basis of the effects.
#
# The fixed points of the rule are the stationary points of the criterion, also on the boundary. To
# see this, let $M = T^{1/2}GT^{1/2} = FF'$ and $K = R^{1/2}$. At a fixed point $KMK = M$, so $KF =
# FO$ with an orthogonal matrix $O$. Then $F'KF = F'F\,O$ is symmetric and positive semidefinite.
# The polar decomposition is unique, so $O = 1$. It follows that $RF = F$, which is the condition
# above.
#
# The MM update of Zhou, Hu, Zhou and Lange (2019), $M \leftarrow (MRM)^{1/2}$, has the same fixed
# points in the interior and never increases the criterion. However, its steps are only half as
# long, and it cannot change the null space of a $V$ that has become singular. `pymackay` uses it
# only in rounds in which MacKay's step would increase the criterion.

# %% [markdown]
# ## 3. Why the loop breaks down when effects may be correlated
#
# Take a balanced design and fit the effects of each level separately by least squares. Choose the
# basis of the effects in which the sampling covariance of these estimates is the identity and their
# sample covariance is diagonal, with the eigenvalues $s_k$. Each basis vector is a direction with
# the estimated signal-to-noise ratio $s_k - 1$. The literal loop maps the variance $t$ of each
# direction separately:
#
# $$ t \leftarrow \left(\frac{t}{1+t}\right)^2 s. $$
#
# If $s \ge 4$, the map has the stable fixed point
#
# $$ t^* = \frac12\left(s - 2 + \sqrt{s(s-4)}\right). $$

# %%
forecast = pm.forecast_collapse(reml)
weak, strong = forecast["s"].min(), forecast["s"].max()
display(draw_loop_map((round(weak, 3), 4.0, 7.0)))

# %% [markdown]
# In each panel the blue curve is the map, and the orange line follows the loop from round to round.
# The green diamond marks the REML estimate. If $s < 4$, the curve is below the diagonal, and the
# loop converges to zero from every start.
#
# `forecast_collapse` computes $s$ from a REML fit. It tells which directions the literal loop will
# keep (`survives`), and which share of the REML variance (`kept`), without running the loop:

# %%
forecast

# %% tags=["hide-input"]
say(
    f"`sleepstudy` has s = {strong:.3f} and {weak:.3f}. The estimated signal-to-noise ratio of "
    f"the second direction is {weak - 1:.2f}. Its variance is positive, but the literal loop "
    f"reduces it to zero. $V$ becomes singular, so the estimated correlation becomes 1. If "
    f"correlations are forbidden, intercept and slope are each a mixture of the two directions, "
    f"and neither variance collapses:"
)

# %%
pm.forecast_collapse(reml, update="diagonal")

# %% tags=["hide-input"]
slopes_only = pm.mackay(formula, sleep.assign(Days=sleep["Days"] - 4.5), update="diagonal")
sd = np.sqrt(np.diag(slopes_only.varcorr["Subject"]))
say(
    f"Forbidding correlations avoids the error but does not solve the problem, because the result "
    f"then depends on the origin of `Days`. If `Days` is counted from the middle of the "
    f"experiment, the slope variance becomes {sd[1] ** 2:.2f} instead of "
    f"{article.varcorr['Subject'].iloc[1, 1]:.2f}. The REML estimate is "
    f"{reml.varcorr['Subject'].iloc[1, 1]:.2f} in both cases."
)

# %% [markdown]
# ## Simulation study
#
# The theory is compared with simulated data sets. Each data set is fitted by REML, and the literal
# loop starts from the REML estimate.
#
# The left panel shows in which share of the data sets the variance stays positive. The right panel
# shows which share of the variance the loop keeps. It uses $s$ at the loop's own $\sigma^2$,
# because the variance of a direction that collapses is added to the noise. This makes $\sigma^2$
# larger than the REML estimate, and therefore raises the threshold for $s$ slightly.

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
    f"The study has {len(SNR)} signal-to-noise ratios from {SNR[0]:g} to {SNR[-1]:g}, "
    f"{len(studies)} designs, and {count} data sets for each combination, {len(study):,} "
    f"directions in total. If all levels have the same design, the rule s ≥ 4 predicts correctly "
    f"in {agree[balanced].mean():.2%} of the directions whether the variance stays positive. The "
    f"share kept is predicted with a largest error of {error[balanced].max():.0e}. If the levels "
    f"have unequal sizes, a single s is an approximation: {agree[~balanced].mean():.1%} of the "
    f"predictions are correct, and in nine of ten cases the error of the share kept is at most "
    f"{error[~balanced].quantile(0.9):.2f}. If s is computed with the σ² of REML, the threshold is "
    f"{threshold(STUDIES[1]):.2f} for 18 levels of 8 rows."
)

# %% [markdown]
# ## The forecast on real data
#
# With one grouping factor, `forecast_collapse` runs a reduced loop on a few numbers per level. For
# balanced designs the result is exact. With several grouping factors it splits the contrasts of
# each factor into two groups, those that are orthogonal to the other factors and those that are
# not. The column `error` is the error bound that the forecast gives for itself.

# %%
forecasts = pd.DataFrame(
    [row for model in models if not reml_of(model).singular for row in forecast_rows(model)]
)
forecasts.style.hide(axis="index").format(precision=5)

# %% tags=["hide-input"]
wrong = (forecasts["forecast"] - forecasts["measured"]).abs()
rest = ~forecasts["exact"].astype(bool)
inside = (wrong <= forecasts["error"] + 1e-9)[rest]
say(
    f"The largest difference between forecast and measurement is {wrong[~rest].max():.0e} where "
    f"the forecast is exact, and {wrong[rest].max():.2g} elsewhere. In {inside.sum()} of the "
    f"{len(inside)} rows without an exact forecast, the difference is within the error bound."
)

# %% [markdown]
# The next figure shows the behaviour of the literal loop for all $s$ and $t$. It includes the
# directions of those data sets for which a single $s$ determines the result. Each starts at its
# REML estimate (diamond). A dot marks where the loop converged, an arrow a variance that collapsed
# to zero. In the shaded region the loop converges to zero. Its boundary for $s \ge 4$ is the
# unstable fixed point $1/t^*$.

# %%
fates = pd.DataFrame(
    [row for model in models if not reml_of(model).singular for row in fate_rows(model)]
)
display(draw_phase(fates))

# %% [markdown]
# ## All rules on all data sets
#
# The columns of the table are: the number of rounds (`"gamma"` and `"em"` use acceleration by
# default); the round in which a variance collapsed (`lost`); the standard deviations at the end;
# and the largest difference of a variance or covariance from REML, in units of the REML variances.
# If every term has only one effect, `raw` and `diagonal` are the same rule.

# %%
rules = pd.DataFrame([row for model in models for row in rule_rows(model)])
rules.style.hide(axis="index").format({"from REML": "{:.1e}"})

# %% tags=["hide-input"]
ends = rules.groupby("rule")["from REML"].max()
rounds = rules.groupby("rule")["rounds"].agg(["median", "max"])
say(
    f"The rules `gamma` and `em` converge to the REML estimates in all {len(models)} models. The "
    f"largest difference is {max(ends['gamma'], ends['em']):.0e}. The median number of rounds is "
    f"{rounds.loc['gamma', 'median']:.0f} and {rounds.loc['em', 'median']:.0f}."
)

# %% [markdown]
# ## Conclusions
#
# - Use `pm.mackay(..., update="gamma")`, not the literal loop. It converges to the REML estimate,
#   and each round has the same steps as in the lecture.
# - If you have to reproduce a literal loop, call `pm.forecast_collapse` first.
# - If the literal loop ends with a variance of zero or a correlation of ±1, this does not mean that
#   the true variance is zero. It means only that the estimated signal-to-noise ratio of some
#   direction is below 3.
#
# ## Credits
#
# - D. J. C. MacKay (1992). Bayesian interpolation. *Neural Computation* 4(3), 415–447: the
#   effective number γ and the update of the variances.
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
