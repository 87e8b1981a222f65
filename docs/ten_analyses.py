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
# # Ten analyses
#
# Ten tasks as they come up in practice, each from data to answer, without a step in R. Data are
# simulated where the text says so; the others come with the package. Every output is computed
# when the page is built.
#
# 1. Reading times with crossed subjects and items
# 2. A clinical trial with Kenward-Roger tests and marginal means
# 3. Pupils in classes in schools
# 4. Ticks on chicks in broods: nested counts
# 5. Gauge R&R
# 6. Two million rows from Parquet
# 7. A statsmodels model, checked in CI
# 8. An R script, line by line
# 9. A report for a colleague
# 10. Prediction in production

# %% tags=["hide-input", "hide-output"]
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path.cwd().parent)]  # the checkout

# %%
import tempfile

import numpy as np
import pandas as pd

import pymackay as pm

rng = np.random.default_rng(20240501)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Reading times with crossed subjects and items
#
# Forty readers read thirty sentences (simulated), each half of the time in the harder condition.
# Readers and sentences are both samples, so both get random effects; both may respond to the
# condition differently. Reading times are skewed, and the model is for their logarithm.

# %%
subject, item = (index.ravel() for index in np.indices((40, 30)))
hard = (subject + item) % 2
log_rt = (
    6.0
    + 0.08 * hard
    + rng.normal(scale=0.20, size=40)[subject]
    + hard * rng.normal(scale=0.05, size=40)[subject]
    + rng.normal(scale=0.10, size=30)[item]
    + rng.normal(scale=0.25, size=1200)
)
reading = pd.DataFrame(
    {
        "rt": np.exp(log_rt),
        "condition": np.where(hard, "hard", "easy"),
        "subject": subject,
        "item": item,
    }
)
fit = pm.lmer("log(rt) ~ condition + (condition | subject) + (1 | item)", reading)
fit.coefficients()

# %% [markdown]
# The effect in milliseconds: means are carried back from the logarithm, and the difference
# becomes a ratio.

# %%
means = pm.emmeans(fit, "condition", type="response")
print(means)
print(means.pairs())

# %%
_ = pm.plots.caterpillars(fit, "item")

# %% [markdown]
# ## 2. A clinical trial with Kenward-Roger tests and marginal means
#
# Sixty patients (simulated), three visits, some visits missed. The question is the difference
# between the arms at the last visit.

# %%
patient, visit = (index.ravel() for index in np.indices((60, 3)))
baseline = rng.normal(50, 8, 60)
change = (
    -0.3 * (baseline[patient] - 50)
    - 2.0 * visit
    - 2.5 * visit * (patient % 2)
    + rng.normal(scale=4, size=60)[patient]
    + rng.normal(scale=3, size=180)
)
trial = pd.DataFrame(
    {
        "change": change,
        "arm": np.where(patient % 2, "drug", "placebo"),
        "patient": patient,
        "visit": visit.astype(str),
        "baseline": baseline[patient],
    }
)
trial["visit"] = (
    trial["visit"]
    .map({"0": "week 4", "1": "week 8", "2": "week 12"})
    .astype(pd.CategoricalDtype(["week 4", "week 8", "week 12"]))
)
trial.loc[rng.random(180) < 0.1, "change"] = np.nan
fit = pm.lmer("change ~ baseline + arm * visit + (1 | patient)", trial)
fit.anova(ddf="Kenward-Roger")

# %%
means = pm.emmeans(fit, "arm", by="visit", ddf="Kenward-Roger")
print(means.pairs(adjust="none"))

# %%
_ = pm.emmeans(fit, ["visit", "arm"], ddf="Kenward-Roger").plot()

# %% [markdown]
# ## 3. Pupils in classes in schools
#
# Three levels (simulated): 20 schools, 4 classes in each, 15 pupils in each. `school/class`
# stands for a term for schools and a term for classes within schools; classes may have the same
# names in different schools.

# %%
school, room, _ = (index.ravel() for index in np.indices((20, 4, 15)))
status = rng.normal(size=1200)
score = (
    500
    + 20 * status
    + rng.normal(scale=30, size=20)[school]
    + rng.normal(scale=15, size=(20, 4))[school, room]
    + rng.normal(scale=60, size=1200)
)
pupils = pd.DataFrame({"score": score, "status": status, "school": school, "room": room})
fit = pm.lmer("score ~ status + (1 | school/room)", pupils)
print(fit.tidy("ran_pars"))
print(pm.icc(fit))

# %% [markdown]
# Is the level of classes needed? The variance lies on the boundary under the hypothesis, so the
# p-value is that of a mixture.

# %%
fit.random_tests()

# %% [markdown]
# ## 4. Ticks on chicks in broods: nested counts
#
# `grouseticks` (Elston and others 2001, from lme4) counts ticks on the heads of grouse chicks.
# Chicks are in broods and broods in locations. Counts vary more than a Poisson distribution
# allows; an effect for each chick (`INDEX`) takes that up.

# %%
ticks = pm.load_data("grouseticks")
fit = pm.glmer(
    "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", ticks, "poisson"
)
fit.coefficients()

# %% [markdown]
# Rates relative to 1995 and for each 100 metres of altitude:

# %%
per = pd.Series({"YEAR96": 1.0, "YEAR97": 1.0, "cHEIGHT": 100.0})
np.exp(fit.confint("wald", parm="beta_").loc[per.index].mul(per, axis=0)).assign(
    ratio=np.exp(fit.beta[per.index] * per)
).round(3)

# %% [markdown]
# ## 5. Gauge R&R
#
# Ten parts, three operators, each part measured three times by each operator (simulated). How
# much of the variation of measurements comes from the gauge?

# %%
part, operator, _ = (index.ravel() for index in np.indices((10, 3, 3)))
size = (
    10
    + rng.normal(scale=0.8, size=10)[part]
    + rng.normal(scale=0.15, size=3)[operator]
    + rng.normal(scale=0.1, size=(10, 3))[part, operator]
    + rng.normal(scale=0.2, size=90)
)
gauge = pd.DataFrame({"size": size, "part": part, "operator": operator})
fit = pm.lmer("size ~ 1 + (1 | part) + (1 | operator) + (1 | part:operator)", gauge)
variances = pd.Series(
    {
        "repeatability": fit.sigma**2,
        "operator": fit.varcorr["operator"].iloc[0, 0],
        "part x operator": fit.varcorr["part:operator"].iloc[0, 0],
        "part to part": fit.varcorr["part"].iloc[0, 0],
    }
)
study = pd.DataFrame(
    {
        "sd": np.sqrt(variances),
        "% of variance": 100 * variances / variances.sum(),
        "% study variation": 100 * np.sqrt(variances / variances.sum()),
    }
)
study.round(2)

# %% [markdown]
# With three operators the standard deviation between operators is hardly known:

# %%
fit.confint(parm="theta_", long_names=True)

# %% [markdown]
# ## 6. Two million rows from Parquet
#
# A file of two million ratings (simulated and written here). `pm.lmer` takes the path; it reads
# the file in parts and keeps sums only.

# %%
import pyarrow as pa
import pyarrow.parquet as pq

n, path = 2_000_000, folder / "ratings.parquet"
user, film = rng.integers(0, 20_000, n), rng.integers(0, 300, n)
hour = rng.uniform(0, 24, n)
rating = (
    3.5
    + 0.01 * hour
    + rng.normal(scale=0.6, size=20_000)[user]
    + rng.normal(scale=0.4, size=300)[film]
    + rng.normal(size=n)
)
names = {"user": pa.array(user).cast("string"), "film": pa.array(film).cast("string")}
table = pa.table({"rating": rating, "hour": hour, **names})
pq.write_table(table, path, row_group_size=250_000)
fit = pm.lmer("rating ~ hour + (1 | user) + (1 | film)", str(path))
print(f"{path.stat().st_size / 1e6:.0f} MB, {n:,} rows")
print(fit.tidy())

# %% [markdown]
# ## 7. A statsmodels model, checked in CI
#
# A team fits its model in statsmodels and has to show that it agrees with lme4. The fixture
# `lme4_parity` comes with the package; lme4's answer for these data is recorded, so that the test
# needs no R.

# %%
test = folder / "test_model.py"
test.write_text("""
import statsmodels.formula.api as smf

import pymackay as pm

sleep = pm.load_data("sleepstudy")


def test_sleep(lme4_parity):
    model = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days")
    result = model.fit(method="bfgs", gtol=1e-9)
    lme4_parity.check(result, "Reaction ~ Days + (Days | Subject)", sleep)
""")
import subprocess

command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
done = subprocess.run(
    command,
    capture_output=True,
    text=True,
    cwd=folder,
    env=os.environ | {"PYTHONPATH": str(Path.cwd().parent)},
)
print(done.stdout.strip().splitlines()[-1].split(" in ")[0])

# %% [markdown]
# The same comparison without pytest says how close the two are:

# %%
import statsmodels.formula.api as smf

sleep = pm.load_data("sleepstudy")
formula = "Reaction ~ Days + (Days | Subject)"
result = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit(
    method="bfgs", gtol=1e-9
)
theirs = pm.adapters.as_fit(result, formula, sleep)
print(pm.compare(theirs, pm.lmer(formula, sleep)).verdict)

# %% [markdown]
# ## 8. An R script, line by line
#
# Each line of the script stands above the line that replaces it.

# %%
# library(lme4); library(lmerTest); library(emmeans)
# data(cake)
cake = pm.load_data("cake")

# fit <- lmer(angle ~ recipe * temperature + (1 | recipe:replicate), cake)
fit = pm.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", cake)

# anova(fit)
print(fit.anova())

# VarCorr(fit)
print(fit.tidy("ran_pars"))

# emmeans(fit, pairwise ~ recipe)$contrasts
print(pm.emmeans(fit, "recipe").pairs())

# ranova(fit)
print(fit.random_tests())

# predict(fit, head(cake, 2), re.form = NA)
print(fit.predict(cake.head(2), re_form="~0"))

# saveRDS(fit, "fit.rds")
fit.save(folder / "cake.fit")

# %% [markdown]
# ## 9. A report for a colleague
#
# The colleague works in R and wants to see that nothing was lost. `to_html` writes one file with
# the verdict, the numbers of both fits, pictures and the code that repeats the comparison.

# %%
fit = pm.lmer(formula, sleep)
comparison = pm.compare(fit, pm.lme4.lmer(formula, sleep))
comparison.to_html(folder / "report.html")
print(comparison.verdict, f"{(folder / 'report.html').stat().st_size / 1e3:.0f} kB")

# %% [markdown]
# A table for the paper, in Markdown (LaTeX and HTML are there too):

# %%
smaller = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
print(pm.etable([smaller, fit], names=["intercepts", "slopes"], digits=2).to_markdown())

# %% [markdown]
# ## 10. Prediction in production
#
# The model is saved once, without the rows of the data and without pickle, and loaded where it is
# used. Groups that the model does not know are predicted at the population's mean, if that is
# asked for; otherwise they are an error.

# %%
fit.save(folder / "model.fit", rows=False)
served = pm.load_fit(folder / "model.fit")

requests = pd.DataFrame({"Subject": ["308", "335", "new"], "Days": [10.0, 10.0, 10.0]})
served.predict(requests, allow_new_levels=True, interval="prediction").round(1)

# %%
try:
    served.predict(requests)
except pm.PymackayError as error:
    print(type(error).__name__, error)
