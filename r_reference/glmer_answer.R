# What is told of a fit by glmer: as of answer(), with family, link, nodes, dispersion, shape, lme4's
# own number, and the criterion refreshed: taken with its factor at the final mode.

# Fits and answers. `how` is "default", "tight", or a list of theta, beta and, if it is estimated, the
# shape.
ask_general <- function(formula, data, arguments, family, nagq, how) {
  question <- new_general_question(formula, data, arguments, family, nagq)
  general_answer_of(question, how)
}

ask_general_again <- function(kept_fit, how) general_answer_of(kept_fit$question, how)

general_answer_of <- function(question, how) {
  if (is.list(how)) {
    fit <- general_mermod(question, given_parameters(question, how))
  } else {
    fit <- if (how == "tight") general_tight(question) else general_default(question)
  }
  said <- -2 * as.numeric(stats::logLik(fit))
  own <- said - (if (identical(how, "default")) 0 else scale_shift(question, fit))
  refreshed <- if (identical(how, "default")) refreshed_at(question, fit) else said
  c(
    general_answer(question, fit, refreshed, own, curved = identical(how, "tight")),
    list(kept = keep(list2env(list(fit = fit, question = question))))
  )
}

# By how much -2 log likelihood exceeds what lme4 calls it with two nodes or more: the constants of
# the densities.
scale_shift <- function(question, fit) {
  if (question$nagq > 1L) fit@resp$aic() - fit@resp$resDev() else 0
}

refreshed_at <- function(question, fit) {
  at <- split_parameters(question, parameters_of(question, fit))
  refreshed_criterion(question, general_at(question, at$theta, at$beta, at$shape))
}

general_answer <- function(question, fit, refreshed, own, curved) {
  attr(fit@frame, "na.action") <- NULL
  list(
    beta = named(lme4::fixef(fit)),
    vcov = if (curved) curvature_vcov(fit) else plain_vcov(fit),
    sigma = stats::sigma(fit),
    theta = named(lme4::getME(fit, "theta")),
    varcorr = covariances(fit),
    ranef = random_effects(fit),
    criterion = refreshed,
    lme4_criterion = own,
    fitted = as.numeric(stats::fitted(fit)),
    residuals = as.numeric(stats::residuals(fit)),
    singular = lme4::isSingular(fit),
    convergence = convergence(fit),
    model = general_summary(fit),
    family = question$family$name,
    link = question$family$link,
    nagq = question$nagq,
    y = as.numeric(fit@resp$y),
    totals = as.numeric(fit@resp$n),
    linear_predictor = as.numeric(fit@resp$eta),
    deviance = fit@resp$resDev(),
    dispersion = if (fit@devcomp$dims[["useSc"]]) stats::sigma(fit)^2 else 1,
    shape = shape_of(question, fit),
    shape_estimated = estimates_shape(question)
  )
}

shape_of <- function(question, fit) {
  if (question$family$name != "negative binomial") return(NULL)
  if (!estimates_shape(question)) return(question$family$shape)
  given <- attr(fit@optinfo, "shape")
  if (is.null(given)) lme4::getME(fit, "glmer.nb.theta") else given
}

plain_vcov <- function(fit) as.matrix(stats::vcov(fit, correlation = FALSE))

# Twice the inverse of the criterion's curvature over all parameters: its part that belongs to beta.
# A theta on its bound has no part in it.
curvature_vcov <- function(fit) {
  hessian <- fit@optinfo$derivs$Hessian
  n_theta <- length(fit@theta)
  free <- c(fit@theta > fit@lower | fit@lower < 0, rep(TRUE, nrow(hessian) - n_theta))
  inverse <- solve(hessian[free, free])
  of_beta <- sum(free[seq_len(n_theta)]) + seq_along(fit@beta)
  names <- names(lme4::fixef(fit))
  structure(2 * inverse[of_beta, of_beta, drop = FALSE], dimnames = list(names, names))
}

# As model_summary(); prior weights are told as R holds them, which is times the numbers of trials.
general_summary <- function(fit) {
  frame <- stats::model.frame(fit)
  X <- lme4::getME(fit, "X")
  cnms <- fit@cnms
  list(
    response = deparse1(stats::formula(fit)[[2L]]),
    rows = attr(frame, "row.names"),
    terms = Map(
      function(name, group, effects) list(name = name, group = group, effects = effects),
      make.unique(names(cnms)), names(cnms), unname(cnms)
    ),
    levels = lapply(as.list(lme4::getME(fit, "flist")), levels),
    contrasts = contrast_names(attr(X, "contrasts")),
    dropped = as.character(names(attr(X, "col.dropped"))),
    weights = as.numeric(fit@resp$weights),
    offset = if (!is.null(stats::model.offset(frame))) as.numeric(stats::model.offset(frame))
  )
}
