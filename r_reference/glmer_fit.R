# A question to glmer, its answer as a user gets it, tightened, and at given parameters.
#
# lme4 takes the determinant of its criterion from weights that are one step older than its random
# effects. Here the criterion is refreshed: the factor is taken again at the final mode.

# A question as of new_question(), with
#   family   list: name, link, and for the negative binomial the shape, or NULL to estimate it
#   nagq     0, 1, or the number of nodes
new_general_question <- function(formula, data, arguments, family, nagq,
                                 symbols = function(name) paste0("model_", name)) {
  control <- arguments$control
  arguments$control <- NULL
  question <- new_question(formula, data, FALSE, arguments, symbols)
  question$call_arguments$REML <- NULL
  if (!is.null(control)) {
    question$call_arguments$control <- as.name(symbols("control"))
    assign(symbols("control"), do.call(lme4::glmerControl, control), envir = question$scope)
  }
  question$family <- family
  question$nagq <- as.integer(nagq)
  question$family_symbol <- symbols("family")
  if (!estimates_shape(question)) {
    assign(question$family_symbol, family_object(family, family$shape), envir = question$scope)
  }
  question
}

estimates_shape <- function(question) {
  question$family$name == "negative binomial" && is.null(question$family$shape)
}

family_object <- function(family, shape) {
  if (family$name == "negative binomial") {
    made <- bquote(MASS::negative.binomial(theta = .(shape), link = .(family$link)))
    return(eval(made))
  }
  maker <- getExportedValue("stats", family$name)
  do.call(maker, list(link = family$link))
}

glmer_call <- function(question, with = list()) {
  arguments <- c(question$call_arguments, nAGQ = question$nagq, with)
  if (estimates_shape(question)) return(as.call(c(quote(lme4::glmer.nb), arguments)))
  as.call(c(quote(lme4::glmer), arguments, family = as.name(question$family_symbol)))
}

# glmer(), as a user calls it.
general_default <- function(question) eval(glmer_call(question), question$scope)

# lme4's own parts of the model; the family is set apart, because its shape may be estimated.
general_parts <- function(question) {
  if (is.null(question$parts)) {
    arguments <- question$call_arguments
    arguments$start <- NULL
    family <- family_object(question$family, if (is.null(question$family$shape)) 1 else question$family$shape)
    call <- as.call(c(quote(lme4::glFormula), arguments, list(family = family)))
    question$parts <- eval(call, question$scope)
  }
  parts <- question$parts
  parts$reTrms$theta <- parts$reTrms$theta + 0
  parts$reTrms$Lambdat@x <- parts$reTrms$Lambdat@x + 0
  parts
}

# The model at parameters, its random effects at their mode and its factor taken there: the
# environment of lme4's criterion, which holds `pp` and `resp`. The mode is found to the last digit
# that lme4's iterations reach.
general_at <- function(question, theta, beta, shape = NULL) {
  for (tolerance in c(1e-13, 1e-10, 1e-7)) {
    inside <- tryCatch(mode_at(question, theta, beta, shape, tolerance), error = identity)
    if (!inherits(inside, "error")) return(inside)
  }
  stop(inside)
}

mode_at <- function(question, theta, beta, shape, tolerance) {
  laplace <- laplace_function(question, theta, shape, tolerance)
  laplace(c(theta, beta))
  inside <- environment(laplace)
  inside$pp$updateXwts(inside$resp$sqrtWrkWt())
  inside$pp$updateDecomp()
  inside
}

# lme4's function of (theta, beta). One that was made before is used again, unless the family changes.
laplace_function <- function(question, theta, shape, tolerance) {
  key <- paste("laplace", tolerance, shape)
  if (!identical(question$made$key, key)) {
    parts <- general_parts(question)
    family <- family_object(question$family, if (is.null(shape)) question$family$shape else shape)
    joint <- lme4::mkGlmerDevfun(
      parts$fr, parts$X, parts$reTrms, family, control = control_of_modes(tolerance)
    )
    # lme4 looks for functions of its own where mkGlmerDevfun() was called
    parent.env(environment(joint)) <- asNamespace("lme4")
    joint(theta) # iterates on beta and the random effects together, which gives a start
    laplace <- lme4::updateGlmerDevfun(joint, parts$reTrms, nAGQ = 1L)
    question$made <- list(key = key, laplace = laplace)
  }
  question$made$laplace
}

# The criterion here is that of all versions, whose modes are those of dispersion 1.
control_of_modes <- function(tolerance) {
  arguments <- list(tolPwrss = tolerance)
  if (estimates_dispersion()) arguments$disp_method <- "old/buggy"
  do.call(lme4::glmerControl, arguments)
}

# Since version 2.1 lme4 finds modes at an estimate of the dispersion.
estimates_dispersion <- function() "disp_method" %in% names(formals(lme4::glmerControl))

refreshed_criterion <- function(question, inside) {
  if (question$nagq > 1L) adaptive_criterion(question, inside) else laplace_of(inside)
}

# On the scale of all versions: lme4 2.1 leaves out the 2 that R's aic() of a family with a dispersion
# adds for this parameter.
laplace_of <- function(inside) {
  laplace <- inside$resp$Laplace(inside$pp$ldL2(), inside$pp$ldRX2(), inside$pp$sqrL(1))
  has_dispersion <- inside$resp$family$family %in% c("gaussian", "Gamma", "inverse.gaussian")
  if (has_dispersion && estimates_dispersion()) laplace + 2 else laplace
}

# -2 log likelihood by adaptive Gauss-Hermite quadrature, all constants included, for one scalar
# term. lme4's own number is on the scale of deviances: without the constants of the densities.
adaptive_criterion <- function(question, inside) {
  pp <- inside$pp
  resp <- inside$resp
  rule <- lme4::GHrule(question$nagq)
  A <- Matrix::t(pp$Lambdat %*% pp$Zt)
  u <- pp$u(1)
  fixed <- as.numeric(resp$eta) - as.numeric(A %*% u)
  # the factor is that of a diagonal matrix, its square the information at the mode
  sd <- 1 / sqrt(1 + Matrix::colSums(A^2 * resp$sqrtWrkWt()^2))
  logs <- vapply(seq_len(question$nagq), function(k) {
    v <- u + sd * rule[k, "z"]
    mu <- resp$family$linkinv(fixed + as.numeric(A %*% v))
    deviance <- tapply(resp$family$dev.resids(resp$y, mu, resp$weights), inside$fac, sum)
    log(rule[k, "w"]) + (rule[k, "z"]^2 - v^2 - as.numeric(deviance)) / 2
  }, u)
  highest <- apply(logs, 1L, max)
  constants <- resp$aic() - resp$resDev()
  constants + pp$ldL2() - 2 * sum(highest + log(rowSums(exp(logs - highest))))
}

# The model's parameters, one vector (theta, beta, log shape if it is estimated), in parts.
split_parameters <- function(question, parameters) {
  parts <- general_parts(question)
  n_theta <- length(parts$reTrms$theta)
  n_beta <- ncol(parts$X)
  list(
    theta = parameters[seq_len(n_theta)],
    beta = parameters[n_theta + seq_len(n_beta)],
    shape = if (estimates_shape(question)) exp(parameters[n_theta + n_beta + 1L])
  )
}

# Where a fit by glmer() or glmer.nb() ended, as one vector.
parameters_of <- function(question, fit) {
  shape <- if (estimates_shape(question)) log(lme4::getME(fit, "glmer.nb.theta"))
  unname(c(fit@theta, fit@beta, shape))
}

# The refreshed criterion driven to a tight optimum from where glmer() stops. The answer's covariance
# matrix of beta is from the curvature there.
general_tight <- function(question) {
  if (question$nagq == 0L) {
    stop_argument("tight: with nagq = 0 there is no such fit; use nagq = 1, or tight=False")
  }
  default <- suppressMessages(suppressWarnings(general_default(question)))
  start <- parameters_of(question, default)
  search <- general_search(question, length(start))
  parameters <- lower_of(search, run_bobyqa(search, start), start)
  parameters <- normalise(search, newton(search, parameters))
  gained <- search$value(start) - search$value(parameters)
  fit <- general_mermod(question, parameters, list(
    message = sprintf("tightened: %.3g below where glmer() stops by default", gained),
    feval = search$evaluations
  ))
  derivatives(search, parameters, step_scale(search, parameters))
  fit@optinfo$derivs <- search$derivatives
  fit
}

general_search <- function(question, size) {
  criterion <- function(parameters) {
    at <- split_parameters(question, parameters)
    refreshed_criterion(question, general_at(question, at$theta, at$beta, at$shape))
  }
  terms <- general_parts(question)$reTrms
  bounds <- list(
    lower = c(terms$lower, rep(-Inf, size - length(terms$lower))), upper = rep(Inf, size),
    structured = rep(FALSE, size), counts = optimised_parameters(terms)$counts
  )
  new_search(function() criterion, bounds, terms)
}

# A merMod at parameters, whose criterion is the refreshed one.
general_mermod <- function(question, parameters, optimum = list(message = "parameters were given")) {
  at <- split_parameters(question, parameters)
  question$made <- NULL # a function of its own, which nothing moves any more
  inside <- general_at(question, at$theta, at$beta, at$shape)
  question$made <- NULL
  optimum$par <- c(at$theta, at$beta)
  optimum$fval <- refreshed_criterion(question, inside)
  optimum$conv <- 0L
  if (is.null(optimum$feval)) optimum$feval <- 1L
  optimum <- structure(optimum, optimizer = "bobyqa", control = list())
  inside$resp$setOffset(inside$baseOffset)
  inside$nAGQ <- max(question$nagq, 1L)
  parts <- general_parts(question)
  call <- glmer_call(question)
  call$formula <- parts$formula
  fit <- lme4::mkMerMod(inside, optimum, parts$reTrms, fr = parts$fr, mc = call)
  attr(fit@optinfo, "shape") <- at$shape
  fit
}

# Parameters as one vector, from lists of `values` and `names`, which are matched if they are lme4's.
given_parameters <- function(question, how) {
  if (!is.null(how$parameters)) {
    at <- split_parameters(question, how$parameters)
    shape <- if (estimates_shape(question)) how$parameters[length(how$parameters)]
    how <- list(theta = list(values = at$theta), beta = list(values = at$beta), shape = shape)
  }
  parts <- general_parts(question)
  theta <- in_order(how$theta, theta_names(parts$reTrms$cnms))
  beta <- in_order(how$beta, colnames(parts$X))
  check_theta(theta, parts$reTrms)
  if (length(beta) != ncol(parts$X) || !all(is.finite(beta))) {
    stop_argument(
      "beta: ", ncol(parts$X), " finite values are expected, ", paste(colnames(parts$X), collapse = ", "),
      "; ", length(beta), " came"
    )
  }
  if (estimates_shape(question) && is.null(how$shape)) {
    stop_argument("family: a shape is expected, because the negative binomial family has none")
  }
  c(theta, beta, if (estimates_shape(question)) log(how$shape))
}

in_order <- function(given, expected) {
  if (anyDuplicated(expected) || !setequal(given$names, expected)) return(given$values)
  given$values[match(expected, given$names)]
}
