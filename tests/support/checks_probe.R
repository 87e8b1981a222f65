# What R says of models without a group, and of the tests behind checks.

probe_deleted <- function(formula, data, group) {
  given <- list(formula = stats::as.formula(formula), data = data)
  fit <- suppressMessages(suppressWarnings(do.call(lme4::lmer, given)))
  found <- suppressMessages(suppressWarnings(stats::influence(fit, groups = group, data = data)))
  name <- function(what) paste0(what, "[-", group, "]")
  n <- nrow(found[[name("fixed.effects")]])
  p <- length(lme4::fixef(fit))
  list(
    levels = rownames(found[[name("fixed.effects")]]),
    beta = unname(found[[name("fixed.effects")]]),
    sigma2 = unname(found[[name("var.cov.comps")]][, 1L]),
    cooks = unname(stats::cooks.distance(found)) * n / (n - p),
    dfbetas = unname(as.matrix(stats::dfbetas(found)))
  )
}

probe_uniform <- function(x, outside, expected) {
  c(stats::ks.test(x, "punif")$p.value, stats::binom.test(outside, length(x), expected)$p.value)
}

probe_spline <- function(x, y, knots) {
  m <- length(knots)
  B <- splines::ns(x, knots = knots[-c(1L, m)], Boundary.knots = knots[c(1L, m)])
  fit <- stats::lm(y ~ B)
  c(
    stats::anova(stats::lm(y ~ x), fit)[["Pr(>F)"]][2L],
    stats::anova(stats::lm(y ~ 1), fit)[["Pr(>F)"]][2L]
  )
}
