# What the tests ask of a fit that R keeps: R's own functions for it, and dense matrices.

probe_fit <- function(kept, name, named) {
  home <- if (name %in% getNamespaceExports("lme4")) "lme4" else "stats"
  as_plain(do.call(getExportedValue(home, name), c(list(kept$fit), named)))
}

as_plain <- function(x) if (is.matrix(x)) matrix(as.numeric(x), nrow(x)) else as.numeric(x)

# ranef(condVar = TRUE)'s attribute: an array for each group, a list of arrays where it has terms.
probe_condvar <- function(kept) {
  lapply(lme4::ranef(kept$fit, condVar = TRUE), function(group) {
    found <- attr(group, "postVar")
    if (is.list(found)) unname(found) else list(found)
  })
}

probe_dense <- function(kept, name) as_plain(as.matrix(lme4::getME(kept$fit, name)))

probe_lmer <- function(data) {
  text <- paste0("lme4::lmer(Reaction ~ Days + (Days | Subject), ", data, ")")
  eval(str2lang(text), list2env(list(sleepstudy = lme4::sleepstudy), parent = globalenv()))
}

probe_lm <- function() stats::lm(dist ~ speed, datasets::cars)

# R's functions on a merMod that was handed over.
probe_everything <- function(fit) {
  new <- data.frame(Days = 0, Subject = "nobody")
  updated <- stats::update(fit, . ~ . - Days)
  list(
    class = class(fit)[1L],
    predict = as.numeric(stats::predict(fit)),
    "new level" = as.numeric(stats::predict(fit, new, allow.new.levels = TRUE)),
    simulated = as.matrix(stats::simulate(fit, 2, seed = 1)),
    summary = unname(stats::coef(summary(fit))),
    updated = deparse1(stats::formula(updated)),
    "anova p" = suppressMessages(stats::anova(fit, updated))[["Pr(>Chisq)"]][2L],
    bootstrap = unname(lme4::bootMer(fit, lme4::fixef, nsim = 2, seed = 1)$t),
    profiled = nrow(stats::profile(fit, which = "beta_"))
  )
}
