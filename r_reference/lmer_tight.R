# lme4's own criterion driven to a tight optimum: several starts and optimisers, then Newton. What is
# called theta here are lme4's own parameters: those of optimised_parameters().

fit_tight <- function(question) {
  # what lmer() has to say of its own search is not about the tight one
  default <- suppressMessages(suppressWarnings(fit_default(question)))
  parts <- model_parts(question)
  search <- new_search(
    function() criterion_function(parts), optimised_parameters(parts$reTrms), parts$reTrms
  )
  start <- as.numeric(parameters_at(default)$par)
  theta <- search_globally(search, if (anyNA(start)) search$start else start)
  theta <- normalise(search, newton(search, theta))
  gained <- -2 * as.numeric(stats::logLik(default)) - search$value(theta)
  ended <- if (is.nan(gained)) "tightened: lmer() ends at NaN by default" else {
    sprintf("tightened: %.3g below where lmer() stops by default", gained)
  }
  fit <- merMod_at(question, parts, criterion_function(parts), list(
    par = search$inside(theta),
    message = ended,
    feval = search$evaluations
  ))
  fit@optinfo$derivs <- search$derivatives
  fit
}

# The criterion, counted. Where it fails it is Inf. It may be asked below the bounds of a term without
# a structure: a column of Lambda with its sign changed gives the same covariances, so it goes on
# smoothly there. Parameters of the other structures are kept inside their bounds. After a value that
# is not a number the function of lme4 2.1 gives no other value any more, and is made anew.
# `make` makes the criterion, `bounds` is as optimised_parameters() has them.
new_search <- function(make, bounds, terms) {
  search <- new.env()
  search$criterion <- make()
  search$start <- bounds$par
  search$lower <- bounds$lower
  search$upper <- bounds$upper
  search$structured <- bounds$structured
  search$counts <- bounds$counts
  search$large <- nrow(terms$Zt) > 500L
  search$evaluations <- 0L
  search$inside <- function(theta) inside(search, theta)
  search$value <- function(theta) {
    search$evaluations <- search$evaluations + 1L
    value <- tryCatch(search$criterion(search$inside(theta)), error = function(condition) Inf)
    if (is.nan(value)) search$criterion <- make()
    if (is.finite(value)) value else Inf
  }
  search
}

# Parameters of structures moved inside their bounds; a correlation is kept 1e-10 below its upper
# bound, where lme4 2.1 divides 0 by 0 in cs().
inside <- function(search, theta) {
  within <- below_upper(pmax(theta, search$lower), search$upper)
  ifelse(search$structured, within, theta)
}

# The lowest that BOBYQA (minqa's and nlopt's) and subplex find from several starts. A model that is
# expensive gets fewer of them.
search_globally <- function(search, theta) {
  diagonal <- as.numeric(search$lower == 0)
  starts <- list(theta, diagonal, 0.2 * diagonal, theta + 0.1 * diagonal)
  # structures may have optima with correlations of either sign
  correlation <- is.finite(search$upper)
  for (value in if (any(correlation)) c(0.7, -0.9)) {
    starts <- c(starts, list(diagonal + correlation * pmax(value, 0.9 * pmax(search$lower, -1))))
  }
  if (search$large) starts <- starts[1:2]
  algorithms <- list(run_bobyqa, run_nlopt("NLOPT_LN_BOBYQA"), run_nlopt("NLOPT_LN_SBPLX"))
  if (search$large) algorithms <- algorithms[1L]
  for (start in unique(starts)) {
    for (algorithm in algorithms) theta <- lower_of(search, algorithm(search, start), theta)
  }
  lower_of(search, run_bobyqa(search, theta), theta)
}

lower_of <- function(search, a, b) if (search$value(a) < search$value(b)) a else b

# Each optimiser works in units in which the criterion changes by about one.
run_bobyqa <- function(search, start) {
  scale <- step_scale(search, start)
  n <- length(start)
  found <- suppressWarnings(minqa::bobyqa(
    start / scale, scaled_value(search, scale), lower = search$lower / scale,
    upper = search$upper / scale,
    control = list(rhobeg = 0.5, rhoend = 1e-8, maxfun = 3000L * n, npt = 2L * n + 1L)
  ))
  between(search, found$par * scale)
}

run_nlopt <- function(algorithm) {
  function(search, start) {
    scale <- step_scale(search, start)
    found <- nloptr::nloptr(
      start / scale, scaled_value(search, scale), lb = search$lower / scale,
      ub = search$upper / scale,
      opts = list(algorithm = algorithm, xtol_abs = 1e-9, ftol_abs = 1e-12, maxeval = 500L * length(start))
    )
    between(search, found$solution * scale)
  }
}

between <- function(search, theta) pmin(pmax(theta, search$lower), search$upper)

# nlopt and minqa want finite numbers.
scaled_value <- function(search, scale) function(x) min(search$value(x * scale), 1e100)

# For each parameter the step that changes the criterion by about one.
step_scale <- function(search, theta) {
  here <- search$value(theta)
  widest <- ifelse(is.finite(search$upper), (search$upper - pmax(search$lower, -1)) / 4, Inf)
  vapply(seq_along(theta), function(i) {
    step <- max(abs(theta[i]), 1e-3) / 4
    for (attempt in 1:60) {
      moved <- theta
      moved[i] <- theta[i] + step
      change <- abs(search$value(moved) - here)
      # not a number: the criterion fails there
      if (!is.finite(change) || change > 5 || step > widest[i]) step <- step / 2
      else if (change < 0.2 && 2 * step <= widest[i]) step <- step * 2
      else break
    }
    step
  }, 0)
}

# Newton's method without bounds, on differences of fourth order.
newton <- function(search, theta) {
  scale <- step_scale(search, theta)
  best <- search$value(theta)
  noise <- 1e-13 * max(1, abs(best)) # the criterion is not known better
  promised <- Inf
  for (iteration in 1:40) {
    local <- derivatives(search, theta, scale)
    if (is.null(local)) break
    step <- newton_step(local)
    escape <- if (local$smallest < -1e-4) downhill(search, theta, local$direction * scale, best)
    if (!is.null(escape)) {
      theta <- escape
    } else {
      moved <- backtrack(search, theta, step$move * scale, best, noise)
      # below the noise a step is judged by what the next one promises
      if (is.null(moved) || (step$promise < noise && step$promise >= promised)) break
      promised <- step$promise
      theta <- moved
    }
    best <- min(best, search$value(theta))
  }
  theta
}

newton_step <- function(local) {
  size <- pmax(abs(local$values), 1e-9 * max(abs(local$values), 1e-9))
  move <- -local$vectors %*% (crossprod(local$vectors, local$gradient) / size)
  list(move = as.numeric(move), promise = -sum(move * local$gradient) / 2)
}

# The first of ever shorter moves that does not raise the criterion; NULL if there is none.
backtrack <- function(search, theta, move, best, noise) {
  for (shrink in 0.5^(0:12)) {
    moved <- theta + shrink * move
    if (search$value(moved) <= best + noise) return(moved)
  }
  NULL
}

# A lower point along a direction of negative curvature, either way; NULL if there is none.
downhill <- function(search, theta, direction, best) {
  for (size in c(1, 0.3, 0.1, 0.03)) {
    for (sign in c(1, -1)) {
      moved <- theta + sign * size * direction
      if (search$value(moved) < best - 1e-9) return(moved)
    }
  }
  NULL
}

# Gradient and curvature in units of `scale`, with the curvature's eigenvalues and vectors; NULL where
# the criterion cannot be differenced.
derivatives <- function(search, theta, scale, step = 0.01) {
  n <- length(theta)
  at <- function(move) search$value(theta + move * scale * step)
  unit <- function(i) as.numeric(seq_len(n) == i)
  here <- at(numeric(n))
  gradient <- numeric(n)
  hessian <- matrix(0, n, n)
  for (i in seq_len(n)) {
    ahead <- c(at(unit(i)), at(2 * unit(i)))
    behind <- c(at(-unit(i)), at(-2 * unit(i)))
    gradient[i] <- (8 * (ahead[1L] - behind[1L]) - (ahead[2L] - behind[2L])) / (12 * step)
    sums <- ahead + behind - 2 * here
    hessian[i, i] <- (16 * sums[1L] - sums[2L]) / (12 * step^2)
    for (j in seq_len(i - 1L)) {
      same <- at(unit(i) + unit(j)) + at(-unit(i) - unit(j))
      opposite <- at(unit(i) - unit(j)) + at(unit(j) - unit(i))
      hessian[i, j] <- hessian[j, i] <- (same - opposite) / (4 * step^2)
    }
  }
  search$derivatives <- list(gradient = gradient / scale, Hessian = hessian / outer(scale, scale))
  if (!all(is.finite(hessian))) return(NULL)
  system <- eigen(hessian, symmetric = TRUE)
  list(
    gradient = gradient, values = system$values, vectors = system$vectors,
    smallest = system$values[n], direction = system$vectors[, n]
  )
}

# Inside the bounds. In a term without a structure a column of Lambda whose diagonal is negative
# changes its sign, and a diagonal that is zero but for rounding becomes zero.
normalise <- function(search, theta) {
  theta <- search$inside(theta)
  first <- 0L
  for (count in search$counts) {
    entries <- first + seq_len(count)
    if (!any(search$structured[entries])) theta[entries] <- positive_columns(theta[entries])
    first <- first + count
  }
  here <- search$value(theta)
  for (i in which(search$lower == 0 & !search$structured)) {
    zeroed <- replace(theta, i, 0)
    if (theta[i] > 0 && search$value(zeroed) <= here + 1e-12 * max(1, abs(here))) theta <- zeroed
  }
  theta
}

# Theta of one term with the sign of each column of Lambda such that its diagonal is not negative.
positive_columns <- function(theta) {
  q <- (sqrt(8 * length(theta) + 1) - 1) / 2
  column <- rep(seq_len(q), times = q:1)
  for (k in seq_len(q)) {
    entries <- which(column == k)
    if (theta[entries[1L]] < 0) theta[entries] <- -theta[entries]
  }
  theta
}
