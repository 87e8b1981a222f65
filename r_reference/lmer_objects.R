# Fits that cross over as R's own objects: a merMod made at a given theta, and one that R has made.

# A merMod at `theta` whose call can be evaluated again by update(), emmeans and the like: data,
# weights and offset stand in the global environment, under names that end in `suffix`.
mermod_at <- function(formula, data, reml, arguments, theta, suffix) {
  scope <- new.env(parent = formula_library())
  question <- new_question(formula, data, reml, arguments, scope, function(name) {
    paste("pymackay", name, suffix, sep = "_")
  })
  for (name in ls(scope)) assign(name, get(name, envir = scope), envir = globalenv())
  rm(list = ls(scope), envir = scope)
  fit <- fit_at(question, theta$values, theta$names)
  list(fit = fit, criterion = -2 * as.numeric(stats::logLik(fit)))
}

# The answer of a merMod that came from R, with its formula and whether it is REML. It is kept with
# the question that its call asks, for other thetas.
answer_of_mermod <- function(fit) {
  if (!inherits(fit, "lmerMod")) {
    stop_argument("a fit by lmer() is expected, not an object of class ", class(fit)[1L])
  }
  c(answer_and_keep(fit, question_of(fit)), list(
    formula = deparse1(stats::formula(fit)),
    reml = lme4::isREML(fit)
  ))
}

question_of <- function(fit) {
  question <- new.env()
  question$scope <- environment(stats::formula(fit))
  question$call_arguments <- as.list(fit@call)[-1L]
  question$call_arguments$REML <- lme4::isREML(fit)
  question
}

# The merMod behind a fit, as R made it.
mermod_behind <- function(kept_fit) kept_fit$fit

name_globally <- function(name, object) {
  assign(name, object, envir = globalenv())
  NULL
}

# A data frame of the global environment, if all of it has a counterpart in pandas.
frame_named <- function(name) {
  if (!exists(name, envir = globalenv(), inherits = FALSE)) {
    stop_argument("name: R's global environment has no variable ", name)
  }
  frame <- get(name, envir = globalenv(), inherits = FALSE)
  if (!is.data.frame(frame)) {
    stop_argument("name: a data frame is expected, and ", name, " is of class ", class(frame)[1L])
  }
  twice <- names(frame)[duplicated(names(frame))]
  if (length(twice)) stop_argument("name: more than one column is called '", twice[1L], "'")
  for (column in names(frame)) check_column(frame[[column]], column)
  # a tibble or a data.table has the same columns
  structure(as.list(frame), class = "data.frame", row.names = attr(frame, "row.names"))
}

check_column <- function(values, column) {
  plain <- !is.object(values) && is.null(dim(values)) &&
    (is.numeric(values) || is.logical(values) || is.character(values))
  if (!plain && !is.factor(values)) {
    stop_argument(
      "name: column '", column, "' is of class ", class(values)[1L], ", which has no way into ",
      "pandas. Numbers, truth values, text and factors have; convert it in R, or leave it out"
    )
  }
}
