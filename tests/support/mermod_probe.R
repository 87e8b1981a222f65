# What R's functions say of a merMod, by name: of one that R has fitted, or of one handed over.

# lmer()'s own fit, its optimiser driven further than it goes by default.
native_mermod <- function(formula, data, reml) {
  assign("native_data", data, envir = globalenv())
  further <- list(xtol_abs = 1e-12, ftol_abs = 1e-12, xtol_rel = 0, ftol_rel = 0)
  control <- lme4::lmerControl(optCtrl = further)
  call <- call("lmer", str2lang(formula), data = quote(native_data), REML = reml)
  call[[1L]] <- quote(lme4::lmer)
  call$control <- control
  eval(call, globalenv())
}

plain <- function(x) {
  x <- as.data.frame(x)
  unlist(lapply(x[vapply(x, is.numeric, NA)], as.numeric))
}

# `new` is a data frame to predict at; `factor` and `covariate` are variables of the fixed part.
say_everything <- function(fit, new, factor, covariate) {
  effects <- lme4::ranef(fit, condVar = TRUE)
  smaller <- stats::update(fit, stats::as.formula(paste(". ~ . -", covariate)))
  tested <- lmerTest::as_lmerModLmerTest(fit)
  means <- function(df) plain(emmeans::emmeans(fit, factor, lmer.df = df))
  list(
    coefficients = plain(stats::coef(summary(fit))),
    varcorr = plain(as.data.frame(lme4::VarCorr(fit))[c("vcov", "sdcor")]),
    fitted = plain(stats::fitted(fit)),
    predict = plain(stats::predict(fit, new, allow.new.levels = TRUE)),
    simulate = plain(stats::simulate(fit, 2, seed = 1)),
    ranef = plain(effects[[1L]]),
    condvar = as.numeric(attr(effects[[1L]], "postVar")),
    satterthwaite = means("satterthwaite"),
    "kenward-roger" = means("kenward-roger"),
    lmerTest = plain(stats::coef(summary(tested))),
    "lmerTest anova" = plain(stats::anova(tested)),
    pbkrtest = plain(pbkrtest::KRmodcomp(fit, smaller)$test),
    anova = plain(suppressMessages(stats::anova(fit, smaller))),
    drop1 = plain(stats::drop1(fit)),
    update = plain(lme4::fixef(smaller)),
    refit = plain(lme4::fixef(lme4::refit(fit, stats::simulate(fit, 1, seed = 2)[[1L]]))),
    confint = plain(stats::confint(fit, method = "Wald", parm = "beta_"))
  )
}

printed <- function(fit) utils::capture.output(print(summary(fit)))

global_class <- function(name) class(get(name, envir = globalenv()))[1L]

set_global <- function(name, text) {
  assign(name, eval(str2lang(text), globalenv()), envir = globalenv())
  NULL
}

frame_behind <- function(fit) {
  frame <- stats::model.frame(fit)
  structure(as.list(frame), class = "data.frame", row.names = attr(frame, "row.names"))
}
