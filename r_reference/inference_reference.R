# What lmerTest, pbkrtest and lme4 say of tests and intervals, one JSON file for each data set.
#
#   Rscript r_reference/inference_reference.R [output directory, default r_reference/inference]
#
# Needs the R packages lmerTest, pbkrtest, nlme and jsonlite. Numbers carry 17 digits.
#
# A fit is described by formula, subset and contrasts, and tests are recorded with the theta at which
# R computed them, so that a comparison at the same theta sees no optimiser. lme4's own profile
# intervals are read off a spline; `exact` holds ends where its deviance was solved for.

suppressPackageStartupMessages({
  library(lmerTest)
  library(pbkrtest)
  library(jsonlite)
  library(nlme)
})

TIGHT <- lme4::lmerControl(
  optimizer = "nlminbwrap", calc.derivs = FALSE, check.conv.singular = "ignore",
  optCtrl = list(rel.tol = 1e-15, x.tol = 1e-10, abs.tol = 0, eval.max = 5000, iter.max = 5000)
)

CASES <- list(
  sleepstudy = list(
    slopes = list(formula = "Reaction ~ Days + (Days | Subject)"),
    unbalanced = list(
      formula = "Reaction ~ Days + I(Days^2) + (Days | Subject)", subset = "Reaction < 380"
    ),
    independent = list(formula = "Reaction ~ Days + (Days || Subject)", subset = "Reaction < 380"),
    scalar = list(formula = "Reaction ~ 0 + Days + (1 | Subject)"),
    days = list(formula = "Reaction ~ factor(Days) + (1 | Subject)", subset = "Reaction < 400"),
    poly = list(formula = "Reaction ~ poly(Days, 2) + (Days | Subject)", subset = "Reaction < 400"),
    centred = list(formula = "Reaction ~ Days + (I(Days - 4.5) | Subject)")
  ),
  Pastes = list(
    nested = list(formula = "strength ~ 1 + (1 | batch/cask)"),
    cask = list(formula = "strength ~ cask + (1 | batch)", subset = "strength > 55")
  ),
  Penicillin = list(
    crossed = list(formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    sample = list(formula = "diameter ~ sample + (1 | plate)", subset = "diameter < 26")
  ),
  Dyestuff2 = list(zero = list(formula = "Yield ~ 1 + (1 | Batch)")),
  cake = list(
    split_plot = list(formula = "angle ~ recipe * temperature + (1 | recipe:replicate)"),
    sum_contrasts = list(
      formula = "angle ~ recipe * temperature + (1 | replicate)", subset = "angle < 45",
      contrasts = list(recipe = "contr.sum")
    ),
    aliased = list(
      formula = "angle ~ recipe * factor(temp) + (1 | recipe:replicate)",
      subset = "!(recipe == 'C' & temp > 220) & angle > 20"
    ),
    numeric = list(
      formula = "angle ~ recipe * temp + (1 | recipe:replicate)", subset = "angle < 45"
    ),
    boundary = list(
      formula = "angle ~ recipe + temp + (1 | replicate) + (1 | temperature)",
      subset = "angle < 45"
    )
  ),
  Machines = list(
    interaction = list(formula = "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)"),
    correlated = list(formula = "score ~ Machine + (Machine | Worker)"),
    unbalanced = list(
      formula = "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", subset = "score < 68"
    )
  ),
  Oats = list(
    split_plot = list(formula = "yield ~ factor(nitro) * Variety + (1 | Block/Variety)"),
    unbalanced = list(
      formula = "yield ~ nitro * Variety + (1 | Block/Variety)", subset = "yield < 150"
    ),
    helmert = list(
      formula = "yield ~ factor(nitro) * Variety + (1 | Block/Variety)", subset = "yield < 150",
      contrasts = list(Variety = "contr.helmert")
    )
  ),
  Orthodont = list(
    slopes = list(formula = "distance ~ age * Sex + (age | Subject)"),
    poly = list(formula = "distance ~ poly(age, 2) * Sex + (1 | Subject)", subset = "distance > 18")
  ),
  VerbAgg = list(
    crossed = list(
      formula = "as.numeric(resp) ~ Anger + Gender * btype + situ + (1 | id) + (1 | item)",
      subset = "Anger > 28"
    )
  )
)

LADDERS <- list(
  sleepstudy = c(
    "Reaction ~ Days + (Days | Subject)", "Reaction ~ 1 + (1 | Subject)",
    "Reaction ~ Days + (1 | Subject)"
  ),
  cake = c(
    "angle ~ recipe + temperature + (1 | recipe:replicate)",
    "angle ~ recipe * temperature + (1 | recipe:replicate)"
  ),
  Machines = c(
    "score ~ Machine + (1 | Worker)", "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)",
    "score ~ Machine + (Machine | Worker)"
  )
)

PROFILES <- list(
  sleepstudy = c(
    "Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (Days || Subject)",
    "Reaction ~ Days + (1 | Subject)"
  ),
  Pastes = "strength ~ 1 + (1 | batch/cask)",
  Penicillin = "diameter ~ 1 + (1 | plate) + (1 | sample)",
  Dyestuff2 = "Yield ~ 1 + (1 | Batch)",
  cake = "angle ~ recipe + temp + (1 | recipe:replicate)",
  Machines = "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)"
)

data_set <- function(name) {
  package <- if (name %in% c("Machines", "Oats", "Orthodont")) "nlme" else "lme4"
  scope <- new.env()
  utils::data(list = name, package = package, envir = scope)
  frame <- as.data.frame(scope[[name]])
  for (column in names(frame)) {
    if (is.ordered(frame[[column]]) && package == "nlme") {
      frame[[column]] <- factor(frame[[column]], ordered = FALSE)
    }
  }
  frame
}

fit_case <- function(case, frame, reml) {
  assign("model_data", frame, envir = globalenv())
  call <- bquote(
    lmerTest::lmer(.(stats::as.formula(case$formula)), data = model_data, REML = .(reml),
                   control = TIGHT, contrasts = .(case$contrasts))
  )
  if (!is.null(case$subset)) call$subset <- parse(text = case$subset)[[1L]]
  suppressMessages(suppressWarnings(eval(call, globalenv())))
}

columns <- function(table) {
  table <- as.data.frame(table)
  list(rows = rownames(table), values = lapply(table, as.numeric))
}

quietly <- function(expression) suppressMessages(suppressWarnings(expression))

# A few rows that mix all coefficients, the same in any language: L[i, j] = cos(i * j).
mixing <- function(p) outer(seq_len(min(2L, p)), seq_len(p), function(i, j) cos(i * j))

tests_of <- function(fit, methods) {
  L <- mixing(length(lme4::fixef(fit)))
  found <- lapply(methods, function(ddf) {
    list(
      coefficients = columns(coef(summary(fit, ddf = ddf))),
      anova = lapply(
        c(I = "I", II = "II", III = "III"),
        function(type) columns(quietly(anova(fit, type = type, ddf = ddf)))
      ),
      contest = columns(lmerTest::contestMD(fit, L, ddf = ddf)),
      contest_rhs = columns(lmerTest::contest1D(fit, L[1, ], rhs = 1.5, ddf = ddf, confint = TRUE))
    )
  })
  names(found) <- methods
  found
}

record_case <- function(case, frame) {
  answers <- lapply(c(reml = TRUE, ml = FALSE), function(reml) {
    fit <- fit_case(case, frame, reml)
    methods <- if (reml) c("Satterthwaite", "Kenward-Roger") else "Satterthwaite"
    list(theta = as.numeric(lme4::getME(fit, "theta")), tests = tests_of(fit, methods))
  })
  c(case, answers)
}

record_ladder <- function(formulas, frame) {
  fits <- lapply(formulas, function(f) fit_case(list(formula = f), frame, TRUE))
  names(fits) <- paste0("fit", seq_along(fits))
  list2env(fits, globalenv())
  call <- as.call(c(quote(anova), lapply(names(fits), as.name)))
  list(formulas = formulas, table = columns(quietly(eval(call, globalenv()))))
}

# ---- profiles: where lme4's ML deviance, the others minimised out, is chi-square's quantile above --

search <- function(start, value, lower, upper) {
  tight <- list(rel.tol = 1e-15, x.tol = 1e-12, eval.max = 5000, iter.max = 5000)
  best <- stats::nlminb(start, value, lower = lower, upper = upper, control = tight)
  again <- stats::nlminb(best$par, value, lower = lower, upper = upper, control = tight)
  min(best$objective, again$objective)
}

root <- function(height, from, step, bound) {
  far <- from + step
  while (height(far) < 0) {
    if (far == bound) {
      return(bound)
    }
    far <- if (step < 0) max(bound, far + step) else min(bound, far + step)
  }
  stats::uniroot(height, sort(c(from, far)), tol = 1e-11)$root
}

exact_ends <- function(fit, level = 0.95) {
  deviance <- lme4:::devfun2(fit, useSc = TRUE, signames = TRUE)
  base <- attr(deviance, "basedev")
  optimum <- attr(deviance, "optimum")
  n_beta <- length(lme4::fixef(fit))
  n_var <- length(optimum) - n_beta
  at <- optimum[seq_len(n_var)]
  # sigma stays off 0: one deviance that is no number spoils all that lme4 computes after it
  lower <- c(pmax(fit@lower, -1), at[n_var] / 20)
  upper <- c(ifelse(fit@lower == 0, Inf, 1), Inf)
  allowed <- stats::qchisq(level, 1)
  ends <- t(vapply(seq_len(n_var), function(w) {
    height <- function(x) {
      full <- function(others) deviance(append(others, x, w - 1L))
      search(at[-w], full, lower[-w], upper[-w]) - base - allowed
    }
    reach <- max(abs(at[w]), 0.5) / 4
    c(root(height, at[w], -reach, lower[w]), root(height, at[w], reach, upper[w]))
  }, numeric(2)))
  rownames(ends) <- names(at)
  ends
}

# The intervals are those that a user gets, by lme4's default optimiser: with another one its
# profiles of some of these break off. The exact ends are sought from the tight optimum.
record_profile <- function(formula, frame) {
  tight <- as(fit_case(list(formula = formula), frame, FALSE), "lmerMod")
  plain <- quietly(eval(bquote(
    lme4::lmer(.(stats::as.formula(formula)), data = model_data, REML = FALSE)
  ), globalenv()))
  names <- rownames(quietly(confint(plain, method = "Wald", oldNames = FALSE)))
  list(
    formula = formula,
    names = names,
    wald = columns(quietly(confint(plain, method = "Wald"))),
    profile = columns(quietly(confint(plain, method = "profile"))),
    profile90 = columns(quietly(confint(plain, method = "profile", level = 0.9))),
    exact = columns(exact_ends(tight))
  )
}

versions <- function() {
  packages <- c("lme4", "Matrix", "lmerTest", "pbkrtest", "numDeriv")
  found <- lapply(packages, function(name) as.character(utils::packageVersion(name)))
  c(list(R = as.character(getRversion())), stats::setNames(found, packages))
}

main <- function(directory = "r_reference/inference") {
  dir.create(directory, showWarnings = FALSE, recursive = TRUE)
  for (name in names(CASES)) {
    frame <- data_set(name)
    answer <- list(
      data = name,
      versions = versions(),
      tests = lapply(CASES[[name]], record_case, frame = frame),
      ladder = if (name %in% names(LADDERS)) record_ladder(LADDERS[[name]], frame),
      profiles = lapply(PROFILES[[name]], record_profile, frame = frame)
    )
    text <- jsonlite::toJSON(answer, digits = I(17), auto_unbox = TRUE, na = "null", null = "null",
                             pretty = 1)
    writeLines(text, file.path(directory, paste0(name, ".json")))
    message(name)
  }
}

do.call(main, as.list(commandArgs(trailingOnly = TRUE)))
