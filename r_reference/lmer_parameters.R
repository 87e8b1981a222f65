# What lme4 optimises: theta before lme4 2; since then `par`, of which theta is a function, with
# upper bounds for the correlations of the structures cs() and ar1().

# A list of `par` (where lmer() starts), `lower`, `upper`, `names`, `structured`: TRUE for each
# parameter of a term with a structure other than us(); and `counts`: parameters of each term.
optimised_parameters <- function(terms) {
  covariances <- terms$reCovs
  if (is.null(covariances)) {
    count <- length(terms$theta)
    return(list(
      par = terms$theta, lower = terms$lower, upper = rep(Inf, count),
      names = theta_names(terms$cnms), structured = rep(FALSE, count),
      counts = vapply(terms$cnms, function(effects) sum(seq_along(effects)), 0L)
    ))
  }
  counts <- vapply(covariances, function(one) length(lme4:::getPar(one)), 0L)
  list(
    par = unlist(lapply(covariances, lme4:::getPar)), lower = terms$lower, upper = terms$upper,
    names = unlist(Map(lme4:::getParNames, covariances, terms$cnms, names(terms$cnms))),
    structured = rep(vapply(covariances, structure_name, "") != "us", counts), counts = counts
  )
}

# "us", "diag", "cs" or "ar1".
structure_name <- function(covariance) sub("Covariance.", "", class(covariance)[1L], fixed = TRUE)

# The structure of each term, with `hom` (one standard deviation for all effects); NULL before lme4 2.
structures_of <- function(covariances) {
  lapply(covariances, function(one) {
    list(
      name = structure_name(one),
      hom = "hom" %in% methods::slotNames(one) && isTRUE(methods::slot(one, "hom"))
    )
  })
}

covariances_of <- function(fit) if (is.null(attr(fit, "reCovs"))) NULL else lme4::getReCovs(fit)

# The optimiser's parameters of a fit, with their names and bounds.
parameters_at <- function(fit) {
  if (is.null(attr(fit, "reCovs"))) {
    theta <- lme4::getME(fit, "theta")
    return(list(par = theta, lower = fit@lower, upper = rep(Inf, length(theta))))
  }
  list(par = lme4::getME(fit, "par"), lower = fit@lower, upper = attr(fit, "upper"))
}

# The names of theta, as getME(fit, "theta") has them.
names_of_theta <- function(terms) {
  if (is.null(terms$reCovs)) return(theta_names(terms$cnms))
  unlist(Map(lme4:::getThetaNames, terms$reCovs, terms$cnms, names(terms$cnms)))
}

# The parameters that give this theta.
par_of_theta <- function(terms, theta) {
  if (is.null(terms$reCovs)) return(theta)
  bounds <- optimised_parameters(terms)
  par <- unlist(lapply(lme4:::upReCovs(terms$reCovs, theta), lme4:::getPar))
  # a correlation is computed from theta, with rounding
  rounding <- 1e-9 * bounds$structured
  par <- ifelse(abs(par - bounds$lower) <= rounding, bounds$lower, par)
  ifelse(abs(par - bounds$upper) <= rounding, bounds$upper, par)
}

# Parameters that keep 1e-10 from their upper bounds.
below_upper <- function(par, upper) pmin(par, upper - 1e-10 * is.finite(upper))
