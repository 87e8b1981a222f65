# What lme4 and emmeans say after a fit of cbpp by glmer, at given fixed effects and covariance.

fit_cbpp <- function(data, link) {
  formula <- cbind(incidence, size - incidence) ~ period + (1 | herd)
  suppressMessages(lme4::glmer(formula, data, stats::binomial(link)))
}

probe_refit <- function(data, successes) {
  fit <- fit_cbpp(data, "logit")
  again <- lme4::refit(fit, cbind(successes, data$size - successes))
  # the factor of lme4's criterion is one step old: taken anew at the mode
  again@pp$updateXwts(again@resp$sqrtWrkWt())
  again@pp$updateDecomp()
  refreshed <- again@resp$aic() + again@pp$sqrL(1) + again@pp$ldL2()
  list(beta = unname(lme4::fixef(again)), theta = unname(lme4::getME(again, "theta")),
       criterion = refreshed)
}

probe_drop1 <- function(data) {
  table <- stats::drop1(fit_cbpp(data, "logit"), test = "Chisq")
  list(npar = table$npar[2], AIC = table$AIC, LRT = table$LRT[2], p = table[["Pr(Chi)"]][2])
}

probe_general_means <- function(data, link, type, beta, vcov) {
  fit <- fit_cbpp(data, link)
  fit@beta <- beta
  quiet <- function(x) suppressMessages(suppressWarnings(x))
  means <- quiet(emmeans::emmeans(fit, "period", type = type, vcov. = vcov, data = data))
  numbers <- function(x) {
    table <- as.data.frame(quiet(x))
    table <- table[setdiff(names(table), c("period", "contrast", "null"))]
    list(names = names(table), values = unname(as.matrix(table)))
  }
  pairs <- quiet(emmeans::contrast(means, "pairwise"))
  joint <- quiet(as.data.frame(emmeans::joint_tests(means)))
  list(
    means = numbers(stats::confint(means)),
    pairs = numbers(pairs),
    intervals = numbers(stats::confint(pairs)),
    effects = numbers(emmeans::contrast(means, "eff")),
    joint = unlist(joint[c("df1", "F.ratio", "p.value")])
  )
}
