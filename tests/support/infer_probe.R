# What the tests of prediction ask of a fit that R keeps.

probe_predict <- function(kept, newdata, re_form, allow) {
  chosen <- switch(re_form, all = NULL, none = NA, stats::as.formula(re_form))
  as.numeric(stats::predict(kept$fit, newdata, re.form = chosen, allow.new.levels = allow))
}

probe_refit <- function(kept, y) {
  again <- lme4::refit(kept$fit, y)
  criterion <- if (lme4::isREML(again)) lme4::REMLcrit(again) else stats::deviance(again)
  list(
    criterion = criterion,
    beta = unname(lme4::fixef(again)),
    theta = unname(lme4::getME(again, "theta"))
  )
}

# Mean and covariance of simulated responses, over the draws.
probe_simulate <- function(kept, nsim, given) {
  drawn <- as.matrix(stats::simulate(kept$fit, nsim, seed = 1, use.u = given))
  list(mean = unname(rowMeans(drawn)), sd = unname(apply(drawn, 1L, stats::sd)))
}

probe_summary <- function(kept) {
  old <- options(width = 200, digits = 7)
  on.exit(options(old))
  utils::capture.output(print(summary(kept$fit)))
}

probe_influence <- function(kept) {
  list(
    hat = unname(stats::hatvalues(kept$fit)),
    cook = unname(stats::cooks.distance(kept$fit))
  )
}

# Both designs, with the names that R gives to their columns.
probe_designs <- function(kept) {
  X <- lme4::getME(kept$fit, "X")
  Z <- lme4::getME(kept$fit, "Z")
  list(fixed = colnames(X), X = unname(as.matrix(X)), levels = colnames(Z),
       Z = unname(as.matrix(Z)))
}
