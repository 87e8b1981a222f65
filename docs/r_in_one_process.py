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
# # R and Python in one process
#
# For R users who move to Python step by step: fit here, and go on with any R package on the same
# fit. `pm.lme4.to_r` turns a fit into a merMod in R, with the optimum that was found here; R does
# not fit it again. This page needs R, lme4 and the bridge (the extra `r`), and is
# run when the site is built where these are installed.

# %% tags=["hide-input", "hide-output"]
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path.cwd().parent)]  # the checkout

# %%
import pymackay as pm

cake = pm.load_data("cake")
fit = pm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", cake)
m = pm.lme4.to_r(fit)

# %% [markdown]
# In a notebook, `%%R` runs a cell in R. `-i m` passes the model on; `-o` brings a result back as
# a pandas table.

# %%
# %load_ext rpy2.ipython

# %% language="R" magic_args="-i m -o slopes"
# suppressPackageStartupMessages({library(lme4); library(emmeans)})
# print(class(m))
# print(pairs(emmeans(m, "recipe")))
# slopes <- as.data.frame(emtrends(m, "recipe", var = "temp"))

# %%
slopes.round(4)

# %% [markdown]
# The same without R:

# %%
print(pm.emmeans(fit, "recipe").pairs())
print(pm.emtrends(fit, "recipe", "temp"))

# %% [markdown]
# lmerTest's tests on the same model:

# %% language="R" magic_args="-i m"
# suppressPackageStartupMessages(library(lmerTest))
# print(anova(as_lmerModLmerTest(m), ddf = "Kenward-Roger"))

# %%
fit.anova(ddf="Kenward-Roger")

# %% [markdown]
# The other way round, a model that was fitted in R becomes a fit here, for `pm.compare`, tables
# and pictures:

# %% language="R" magic_args="-i cake"
# theirs <- lme4::lmer(angle ~ recipe * temp + (1 | recipe:replicate), cake)

# %%
import rpy2.robjects as ro

print(pm.compare(fit, pm.lme4.from_r(ro.globalenv["theirs"])))
