# A question to lme4, its answer as a user of lmer() gets it, and the model at a given theta.

# A question is an environment: the call to lmer() in parts, and the scope in which it is evaluated.
# The call names what it needs by symbols of that scope, so that no data end up inside of it. The
# scope knows nothing of the user's variables: see function_library().
# `arguments` may hold
#   weights, offset   an R expression of columns as text, or numbers
#   subset            an R expression as text, or logical
#   contrasts         list: column -> name or matrix
#   start             theta to start from
#   control           list: arguments of lmerControl()
# `symbols` gives the names under which things stand in the scope.
new_question <- function(formula, data, reml, arguments,
                         symbols = function(name) paste0("model_", name)) {
  question <- new.env()
  question$scope <- new.env(parent = baseenv())
  assign(symbols("data"), data, envir = question$scope)
  question$call_arguments <- list(
    formula = parse_formula(formula, question$scope), data = as.name(symbols("data")), REML = reml
  )
  for (name in names(arguments)) add_argument(question, name, arguments[[name]], symbols(name))
  parent.env(question$scope) <- function_library(lmer_call(question))
  check_rows(question, data)
  question
}

# The functions that a call uses: R's own first, then those of what is attached. Functions alone, so
# that no variable of the session stands in for a column which the data do not have.
function_library <- function(call) {
  library <- new.env(parent = baseenv())
  # lmer() looks for a `weights` and an `offset` where it is called, if these are given
  for (name in unique(c("weights", "offset", all.names(call)))) {
    found <- find_function(name)
    if (!is.null(found)) assign(name, found, envir = library)
  }
  library
}

find_function <- function(name) {
  if (exists(name, envir = baseenv(), mode = "function", inherits = FALSE)) return(NULL)
  for (package in c("stats", "splines")) {
    if (name %in% getNamespaceExports(package)) return(getExportedValue(package, name))
  }
  get0(name, envir = globalenv(), mode = "function")
}

parse_formula <- function(text, environment) {
  expression <- tryCatch(str2lang(text), error = function(condition) {
    stop("the formula does not parse: ", conditionMessage(condition), call. = FALSE)
  })
  if (!is.call(expression) || !identical(expression[[1L]], quote(`~`))) {
    stop("a formula with a ~ was expected, not: ", text, call. = FALSE)
  }
  eval(expression, environment)
}

add_argument <- function(question, name, value, symbol) {
  expression <- name %in% c("weights", "offset", "subset") && is.character(value)
  question$call_arguments[[name]] <- if (expression) parse_rows(name, value) else as.name(symbol)
  if (name == "control") value <- do.call(lme4::lmerControl, value)
  if (!expression) assign(symbol, value, envir = question$scope)
}

parse_rows <- function(name, text) {
  tryCatch(str2lang(text), error = function(condition) {
    stop_argument(name, ": no column and no R expression: ", conditionMessage(condition))
  })
}

# Stops where an expression gives something else than Python takes as an array: a subset of numbers
# would choose rows by their positions.
check_rows <- function(question, data) {
  for (name in intersect(c("weights", "offset", "subset"), names(question$call_arguments))) {
    values <- eval(question$call_arguments[[name]], data, question$scope)
    right <- if (name == "subset") is.logical(values) else is.numeric(values) && is.null(dim(values))
    if (right && length(values) == nrow(data) || identical(values, TRUE)) next
    stop_argument(
      name, ": ", if (name == "subset") "TRUE or FALSE" else "a number", " for each of the ",
      nrow(data), " rows is expected, not ", length(values), " of class ", class(values)[1L]
    )
  }
}

lmer_call <- function(question) as.call(c(quote(lme4::lmer), question$call_arguments))

# lmer(), as a user calls it.
fit_default <- function(question) eval(lmer_call(question), question$scope)

# lme4's own parts of the model: model frame, X, Zt and the template of Lambda.
model_parts <- function(question) {
  if (is.null(question$parts)) {
    arguments <- question$call_arguments
    arguments$start <- NULL
    question$parts <- eval(as.call(c(quote(lme4::lFormula), arguments)), question$scope)
  }
  parts <- question$parts
  # lme4 writes theta and Lambda in place: every criterion gets copies of its own
  parts$reTrms$theta <- parts$reTrms$theta + 0
  parts$reTrms$Lambdat@x <- parts$reTrms$Lambdat@x + 0
  parts
}

criterion_function <- function(parts) {
  do.call(lme4::mkLmerDevfun, parts[c("fr", "X", "reTrms", "REML")])
}

# The model at `theta`, without optimisation; matched by `names` if these are lme4's in any order.
fit_at <- function(question, theta, names = NULL) {
  parts <- model_parts(question)
  criterion <- criterion_function(parts)
  expected <- names_of_theta(parts$reTrms)
  if (!anyDuplicated(expected) && setequal(names, expected)) theta <- theta[match(expected, names)]
  check_theta(theta, parts$reTrms)
  par <- par_of_theta(parts$reTrms, theta)
  said <- "theta was given"
  if (is.nan(criterion(par))) {
    # lme4 2.1 divides 0 by 0 where the correlation of cs() is 1, and keeps the NaN in its parts
    parts <- model_parts(question)
    criterion <- criterion_function(parts)
    par <- below_upper(par, optimised_parameters(parts$reTrms)$upper)
    said <- "theta was given; a correlation of 1, where the criterion is NaN, was taken as 1 - 1e-10"
  }
  merMod_at(question, parts, criterion, list(par = par, message = said))
}

check_theta <- function(theta, terms) {
  expected <- length(terms$theta)
  if (length(theta) != expected) {
    stop_argument(
      "theta: ", expected, if (expected == 1L) " value is" else " values are",
      " expected, ", paste(names_of_theta(terms), collapse = ", "), "; ", length(theta), " came"
    )
  }
  if (!all(is.finite(theta))) stop_argument("theta: finite numbers are expected")
  bounds <- optimised_parameters(terms)
  low <- par_of_theta(terms, theta) < bounds$lower & bounds$lower == 0
  if (any(low)) {
    stop_argument(
      "theta: ", paste(bounds$names[low], collapse = ", "),
      " cannot be below 0 because it is a relative standard deviation"
    )
  }
}

# Names of theta as getME(fit, "theta") has them, made from the effects' names of every term.
theta_names <- function(cnms) {
  unlist(lapply(seq_along(cnms), function(i) {
    effects <- cnms[[i]]
    pairs <- which(lower.tri(diag(length(effects)), diag = TRUE), arr.ind = TRUE)
    column <- effects[pairs[, "col"]]
    row <- effects[pairs[, "row"]]
    # make.names is not used: lme4 keeps the effects' names as they are
    paste(names(cnms)[i], ifelse(row == column, row, paste(row, column, sep = ".")), sep = ".")
  }))
}

# A merMod from a criterion function and what an optimiser returned (`par`, `message`, `feval`).
merMod_at <- function(question, parts, criterion, optimum) {
  optimum$fval <- criterion(optimum$par) # last: it leaves beta, u and L of this theta behind
  optimum$conv <- 0L
  if (is.null(optimum$feval)) optimum$feval <- 1L
  # the name of a real optimiser, which profile() and bootMer() look up
  optimum <- structure(optimum, optimizer = "nloptwrap", control = list())
  call <- lmer_call(question)
  call$formula <- parts$formula
  lme4::mkMerMod(environment(criterion), optimum, parts$reTrms, fr = parts$fr, mc = call)
}
