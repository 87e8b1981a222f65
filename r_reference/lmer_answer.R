# What is told of a fit: plain lists of numbers and names, the same for every way it was fitted.

answer <- function(fit) {
  check_numbers(fit)
  # else R pads what it says of rows with NA after na.exclude
  attr(fit@frame, "na.action") <- NULL
  list(
    beta = named(lme4::fixef(fit)),
    vcov = as.matrix(stats::vcov(fit, correlation = FALSE)),
    sigma = stats::sigma(fit),
    theta = named(lme4::getME(fit, "theta")),
    par = named(parameters_at(fit)$par),
    varcorr = covariances(fit),
    ranef = random_effects(fit),
    criterion = -2 * as.numeric(stats::logLik(fit)),
    fitted = as.numeric(stats::fitted(fit)),
    residuals = as.numeric(stats::residuals(fit)),
    singular = lme4::isSingular(fit),
    convergence = convergence(fit),
    model = model_summary(fit)
  )
}

# lme4 2.1 may end at NaN without a message: its factor of cs() is 0/0 where the correlation is 1.
check_numbers <- function(fit) {
  if (!anyNA(lme4::fixef(fit)) && !is.nan(stats::sigma(fit))) return()
  stop(
    "lme4 returned a fit whose coefficients or standard deviations are not numbers, without a ",
    "message: its criterion is not a number at some parameters on their bounds. Ask for the fit ",
    "with tight = TRUE, which keeps away from these", call. = FALSE
  )
}

named <- function(values) list(names = as.character(names(values)), values = as.numeric(values))

# Term by term, in lme4's order; a second term of a group is called "group.1".
covariances <- function(fit) {
  found <- lme4::VarCorr(fit)
  names(found) <- make.unique(names(found))
  lapply(found, function(term) {
    list(effects = colnames(term), covariance = matrix(as.numeric(term), nrow(term)))
  })
}

random_effects <- function(fit) {
  lapply(lme4::ranef(fit, condVar = FALSE), function(table) {
    list(effects = colnames(table), values = unname(as.matrix(table)))
  })
}

model_summary <- function(fit) {
  frame <- stats::model.frame(fit)
  X <- lme4::getME(fit, "X")
  cnms <- fit@cnms
  weights <- if ("(weights)" %in% names(frame)) stats::weights(fit)
  if (any(weights <= 0)) {
    stop_argument(
      "weights: ", sum(weights <= 0), " of ", length(weights), " are zero or negative, and positive ",
      "ones are expected; take rows of weight zero out with subset"
    )
  }
  list(
    response = deparse1(stats::formula(fit)[[2L]]),
    rows = attr(frame, "row.names"),
    terms = Map(
      function(name, group, effects) list(name = name, group = group, effects = effects),
      make.unique(names(cnms)), names(cnms), unname(cnms)
    ),
    structures = structures_of(covariances_of(fit)),
    levels = lapply(as.list(lme4::getME(fit, "flist")), levels),
    contrasts = contrast_names(attr(X, "contrasts")),
    dropped = as.character(names(attr(X, "col.dropped"))),
    weights = weights,
    offset = if (!is.null(stats::model.offset(frame))) fit@resp$offset
  )
}

contrast_names <- function(contrasts) {
  lapply(contrasts, function(scheme) if (is.character(scheme)) scheme else "matrix")
}

# How the optimiser ended. Gradient and curvature are lme4's own finite differences, where it has
# computed them, over the parameters that do not lie on a bound.
convergence <- function(fit) {
  info <- fit@optinfo
  said <- unlist(info$conv$lme4$messages)
  trouble <- said[!startsWith(as.character(said), "boundary (singular)")]
  list(
    converged = identical(as.integer(info$conv$opt), 0L) && length(trouble) == 0L,
    message = paste(c(as.character(info$message), said), collapse = "; "),
    evaluations = as.numeric(if (is.null(info$feval)) NA else info$feval),
    optimizer = as.character(info$optimizer)[1L],
    shape = shape_at_optimum(info$derivs, on_bound(parameters_at(fit)))
  )
}

on_bound <- function(at) as.numeric(at$par) <= at$lower | as.numeric(at$par) >= at$upper

# Newton decrement, largest gradient in standard errors of its parameter, smallest eigenvalue of the
# curvature scaled to a unit diagonal; from derivatives of the criterion.
shape_at_optimum <- function(derivatives, on_bound) {
  unknown <- list(decrement = NA_real_, gradient = NA_real_, curvature = NA_real_)
  if (is.null(derivatives) || anyNA(derivatives$Hessian) || anyNA(derivatives$gradient)) {
    return(unknown)
  }
  free <- which(!on_bound)
  if (length(free) == 0L) return(list(decrement = 0, gradient = 0, curvature = NA_real_))
  gradient <- derivatives$gradient[free]
  hessian <- derivatives$Hessian[free, free, drop = FALSE]
  size <- diag(hessian)
  if (any(size <= 0)) return(unknown)
  scaled <- hessian / sqrt(outer(size, size))
  smallest <- min(eigen(scaled, symmetric = TRUE, only.values = TRUE)$values)
  if (smallest <= 0) return(list(decrement = NA_real_, gradient = NA_real_, curvature = smallest))
  inverse <- solve(scaled) / sqrt(outer(size, size))
  list(
    decrement = sum(gradient * (inverse %*% gradient)) / 2,
    gradient = max(abs(gradient) * sqrt(2 * diag(inverse))),
    curvature = smallest
  )
}

# Fits, keeps the fit and its question in R, and answers. `how` is "default", "tight", or theta: a
# list of `values` and their `names`, if they have any.
ask <- function(formula, data, reml, arguments, how) {
  question <- new_question(formula, data, reml, arguments)
  answer_of(question, how)
}

ask_again <- function(kept_fit, how) {
  check_own_criterion(kept_fit)
  answer_of(kept_fit$question, how)
}

# A fit from R may say another criterion than its own data give at its theta, as after lme4's refit().
check_own_criterion <- function(kept_fit) {
  if (isTRUE(kept_fit$question$checked)) return()
  fit <- kept_fit$fit
  said <- -2 * as.numeric(stats::logLik(fit))
  here <- criterion_function(model_parts(kept_fit$question))(as.numeric(parameters_at(fit)$par))
  if (!isTRUE(abs(here - said) <= 1e-6 * max(1, abs(said)))) {
    stop_argument(
      "theta: the fit cannot be evaluated. Its criterion is ", format(said, digits = 10), ", and ",
      "its own data give ", format(here, digits = 10), " at its theta. Fit the model again in R"
    )
  }
  kept_fit$question$checked <- TRUE
}

answer_of <- function(question, how) {
  fit <- if (is.list(how)) {
    fit_at(question, how$values, how$names)
  } else if (how == "tight") {
    fit_tight(question)
  } else {
    fit_default(question)
  }
  answer_and_keep(fit, question)
}

answer_and_keep <- function(fit, question) {
  # an environment, so that what is computed later of this fit can be kept with it
  c(answer(fit), list(kept = keep(list2env(list(fit = fit, question = question)))))
}
