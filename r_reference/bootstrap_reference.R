# What lme4's bootMer says, one JSON file for each data set.
#
#   Rscript r_reference/bootstrap_reference.R [output directory, default r_reference/bootstrap]
#
# Needs the R packages lme4, boot and jsonlite. Percentile intervals, means and standard deviations
# of the replicates carry the Monte-Carlo error of `nsim` draws.
#
# REML only where there is one fixed effect: lme4 1.1-31's `refit`, and so its bootMer, makes the
# response module with REML = TRUE, read as 1, in place of the number of fixed effects. With two,
# refit(fit) on the very same data ends elsewhere than the fit.

suppressPackageStartupMessages({
  library(lme4)
  library(jsonlite)
})

CASES <- list(
  sleepstudy = list(
    slopes = list(formula = "Reaction ~ Days + (Days | Subject)", reml = FALSE, use.u = FALSE),
    given = list(formula = "Reaction ~ Days + (Days | Subject)", reml = FALSE, use.u = TRUE)
  ),
  Dyestuff = list(
    batches = list(formula = "Yield ~ 1 + (1 | Batch)", reml = FALSE, use.u = FALSE)
  ),
  Penicillin = list(
    crossed = list(
      formula = "diameter ~ 1 + (1 | plate) + (1 | sample)", reml = TRUE, use.u = FALSE, nsim = 500
    )
  )
)
NSIM <- 2000
SEED <- 20260101

parameters <- function(fit) {
  variances <- as.data.frame(VarCorr(fit), order = "lower.tri")
  names <- ifelse(
    variances$grp == "Residual", "sigma",
    ifelse(is.na(variances$var2), paste0("sd_", variances$var1, "|", variances$grp),
           paste0("cor_", variances$var2, ".", variances$var1, "|", variances$grp))
  )
  c(setNames(variances$sdcor, names), fixef(fit), singular = isSingular(fit))
}

answer <- function(data, case) {
  fit <- lmer(as.formula(case$formula), data, REML = case$reml)
  nsim <- if (is.null(case$nsim)) NSIM else case$nsim
  found <- suppressMessages(suppressWarnings(
    bootMer(fit, parameters, nsim = nsim, seed = SEED, use.u = case$use.u)
  ))
  kept <- setdiff(names(found$t0), "singular")
  ends <- suppressWarnings(confint(found, type = "perc"))[kept, , drop = FALSE]
  t <- found$t[, match(kept, names(found$t0)), drop = FALSE]
  list(
    formula = case$formula, reml = case$reml, use_u = case$use.u, nsim = nsim, seed = SEED,
    parameters = kept, estimate = unname(found$t0[kept]),
    lower = unname(ends[, 1]), upper = unname(ends[, 2]),
    mean = unname(colMeans(t, na.rm = TRUE)), sd = unname(apply(t, 2, sd, na.rm = TRUE)),
    singular = mean(found$t[, match("singular", names(found$t0))])
  )
}

arguments <- commandArgs(trailingOnly = TRUE)
folder <- if (length(arguments)) arguments[1] else "r_reference/bootstrap"
dir.create(folder, showWarnings = FALSE, recursive = TRUE)
versions <- c(
  R = paste(R.version$major, R.version$minor, sep = "."),
  sapply(c("lme4", "Matrix", "boot"), function(p) as.character(packageVersion(p)))
)
for (name in names(CASES)) {
  data <- get(name, envir = asNamespace("lme4"))
  cases <- lapply(CASES[[name]], function(case) answer(data, case))
  text <- toJSON(
    list(data = name, versions = as.list(versions), cases = cases),
    auto_unbox = TRUE, digits = I(9), pretty = 1
  )
  writeLines(text, file.path(folder, paste0(name, ".json")))
}
