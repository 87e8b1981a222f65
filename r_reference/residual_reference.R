# Models with a covariance structure of the residuals by R's nlme, as a table of numbers.
#
#   Rscript r_reference/residual_reference.R > r_reference/residual/nlme.csv
#
# Orthodont with every seventh row left out, so that visits are missing, and sleepstudy as it is.

suppressMessages(library(nlme))

folder <- commandArgs(trailingOnly = TRUE)
folder <- if (length(folder)) folder[1] else "data"
teeth <- read.csv(file.path(folder, "Orthodont.csv"))
teeth$visit <- as.integer((teeth$age - 6) / 2)
teeth$Sex <- factor(teeth$Sex, levels = c("Male", "Female"))
teeth <- teeth[seq_len(nrow(teeth)) %% 7 != 4, ]
sleep <- read.csv(file.path(folder, "sleepstudy.csv"))
sleep$Subject <- factor(sleep$Subject)
sleep$visit <- as.integer(sleep$Days) + 1L

of_gls <- function(correlation = NULL, weights = NULL, reml = TRUE) {
  gls(distance ~ age * Sex, teeth, correlation = correlation, weights = weights,
    method = if (reml) "REML" else "ML",
    control = glsControl(maxIter = 500, msMaxIter = 2000, tolerance = 1e-12, msTol = 1e-14))
}
of_lme <- function(fixed, data, random, correlation = NULL, weights = NULL, reml = TRUE) {
  lme(fixed, data, random = random, correlation = correlation, weights = weights,
    method = if (reml) "REML" else "ML",
    control = lmeControl(maxIter = 500, msMaxIter = 2000, niterEM = 100, tolerance = 1e-12,
      msTol = 1e-14))
}
by_visit <- function() varIdent(form = ~ 1 | visit)
by_sex <- function() varIdent(form = ~ 1 | Sex)
ar1 <- function(form = ~ visit | Subject) corAR1(form = form)

fits <- list(
  us = function(reml) of_gls(corSymm(form = ~ visit | Subject), by_visit(), reml),
  ar1 = function(reml) of_gls(ar1(), NULL, reml),
  ar1_het = function(reml) of_gls(ar1(), by_visit(), reml),
  cs = function(reml) of_gls(corCompSymm(form = ~ 1 | Subject), NULL, reml),
  cs_het = function(reml) of_gls(corCompSymm(form = ~ 1 | Subject), by_visit(), reml),
  diag = function(reml) of_gls(NULL, by_visit(), reml),
  ou = function(reml) of_gls(corCAR1(0.7, form = ~ age | Subject), NULL, reml),
  varident_ar1 = function(reml) of_gls(ar1(), by_sex(), reml),
  random_varident = function(reml) {
    of_lme(distance ~ age * Sex, teeth, ~ 1 | Subject, NULL, by_sex(), reml)
  },
  random_ar1 = function(reml) {
    of_lme(Reaction ~ Days, sleep, ~ 1 | Subject, ar1(), NULL, reml)
  },
  slopes_ar1 = function(reml) {
    of_lme(Reaction ~ Days, sleep, list(Subject = pdSymm(~ Days)), ar1(), NULL, reml)
  }
)

write <- function(case, kind, quantity, values, names = NULL) {
  if (length(values) == 0) return(invisible())
  if (is.null(names)) names <- names(values)
  if (is.null(names)) names <- rep("", length(values))
  cat(sprintf("%s,%s,%s,%s,%.17g\n", case, kind, quantity, names, as.numeric(values)), sep = "")
}

cat("case,kind,quantity,name,value\n")
for (case in names(fits)) {
  for (kind in c("REML", "ML")) {
    fit <- tryCatch(fits[[case]](kind == "REML"), error = function(condition) {
      message(case, " ", kind, ": ", conditionMessage(condition))
      NULL
    })
    if (is.null(fit)) next
    loglik <- logLik(fit)
    write(case, kind, "criterion", -2 * as.numeric(loglik))
    write(case, kind, "npar", attr(loglik, "df"))
    write(case, kind, "sigma", fit$sigma)
    beta <- if (inherits(fit, "lme")) fixef(fit) else coef(fit)
    write(case, kind, "beta", beta)
    if (kind == "REML") write(case, kind, "std_error", sqrt(diag(vcov(fit))), names(beta))
    weights <- fit$modelStruct$varStruct
    if (!is.null(weights)) {
      ratios <- coef(weights, unconstrained = FALSE, allCoef = TRUE)
      write(case, kind, "sd", (fit$sigma * ratios)[order(names(ratios))])
    }
    correlation <- fit$modelStruct$corStruct
    if (!is.null(correlation)) {
      rho <- coef(correlation, unconstrained = FALSE)
      write(case, kind, "rho", rho, paste0("r", seq_along(rho)))
      ends <- tryCatch(intervals(fit, which = "var-cov")$corStruct, error = function(condition) NULL)
      if (!is.null(ends)) {
        write(case, kind, "rho lower", ends[, "lower"], paste0("r", seq_along(rho)))
        write(case, kind, "rho upper", ends[, "upper"], paste0("r", seq_along(rho)))
      }
    }
    if (inherits(fit, "lme")) {
      effects <- ranef(fit)
      for (effect in names(effects)) {
        write(case, kind, paste0("ranef ", effect), effects[[effect]], rownames(effects))
      }
    }
  }
}
