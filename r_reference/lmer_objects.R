# Fits that cross over as R's own objects: a merMod made at a given theta, and one that R has made.

# A merMod at `theta` whose call can be evaluated again by update(), emmeans and the like: they look
# in the environment of its formula, and there are data, weights and offset, under names that end in
# `suffix`. Behind them the user's own variables can be found, now that it is fitted.
# `rows` are names of the rows, or NULL.
mermod_at <- function(formula, data, reml, arguments, theta, suffix, rows) {
  if (!is.null(rows)) attr(data, "row.names") <- rows
  question <- new_question(formula, data, reml, arguments, function(name) {
    paste("pymackay", name, suffix, sep = "_")
  })
  fit <- fit_at(question, theta$values, theta$names)
  parent.env(parent.env(question$scope)) <- globalenv()
  list(fit = fit, criterion = -2 * as.numeric(stats::logLik(fit)))
}

# The answer of a merMod that came from R, or of the user's variable of this name, with its formula,
# whether it is REML, and the names of its rows.
answer_of_mermod <- function(fit) {
  if (is.character(fit)) fit <- users_variable("mermod", fit)
  if (!inherits(fit, c("lmerMod", "glmerMod"))) {
    stop_argument(
      "mermod: a fit by lmer() or glmer() is expected, not an object of class ", class(fit)[1L]
    )
  }
  general <- inherits(fit, "glmerMod")
  c(if (general) answer_of_general_mermod(fit) else answer_and_keep(fit, question_of(fit)), list(
    formula = deparse1(stats::formula(fit)),
    reml = lme4::isREML(fit),
    row_names = row_names(fit)
  ))
}

# The question behind a merMod, with lme4's parts of the model as the merMod holds them: by the name
# in its call there may be other data by now.
question_of <- function(fit) {
  question <- new.env()
  question$call_arguments <- as.list(fit@call)[-1L]
  frame <- fit@frame
  response <- attr(attr(frame, "terms"), "response")
  # refit() leaves the response that it was given in no other place
  if (!all(frame[[response]] == fit@resp$y)) frame[[response]] <- fit@resp$y
  part <- function(name) lme4::getME(fit, name)
  question$parts <- list(
    fr = frame, X = part("X"), REML = lme4::isREML(fit), formula = stats::formula(fit),
    reTrms = list(
      Zt = part("Zt"), theta = fit@theta, Lind = part("Lind"), Gp = fit@Gp, lower = fit@lower,
      Lambdat = part("Lambdat"), flist = fit@flist, cnms = fit@cnms,
      par = parameters_at(fit)$par, upper = parameters_at(fit)$upper, reCovs = covariances_of(fit)
    )
  )
  question
}

# The names of the rows of a fit. R makes text of numbers where lmer()'s subset had missing values,
# whose rows it then drops.
row_names <- function(fit) {
  rows <- attr(fit@frame, "row.names")
  dropped <- names(attr(fit@frame, "na.action"))
  numbers <- is.character(rows) && !is.null(fit@call$subset) &&
    any(grepl("^NA(\\.[0-9]+)?$", dropped)) && all(grepl("^[0-9]+$", rows))
  if (numbers) as.integer(rows) else rows
}

# The merMod behind a fit, as R made it.
mermod_behind <- function(kept_fit) kept_fit$fit

name_globally <- function(name, object) {
  assign(name, object, envir = globalenv())
  NULL
}

# A variable of the user's: of the functions in which R has called Python, the innermost first, or of
# the global environment.
users_variable <- function(argument, name) {
  for (frame in c(rev(Filter(is_users, sys.frames())), globalenv())) {
    if (exists(name, envir = frame, inherits = FALSE)) return(get(name, envir = frame))
  }
  stop_argument(argument, ": R's global environment has no variable ", name)
}

# Whether an environment is one of the user's functions, and not of these scripts or of a package.
is_users <- function(environment) {
  while (!identical(environment, globalenv())) {
    if (identical(environment, emptyenv()) || isNamespace(environment)) return(FALSE)
    environment <- parent.env(environment)
  }
  TRUE
}

# A data frame of the user's, with a warning for each column that has no counterpart in pandas.
frame_named <- function(name) {
  frame <- users_variable("name", name)
  if (!is.data.frame(frame)) {
    stop_argument("name: a data frame is expected, and ", name, " is of class ", class(frame)[1L])
  }
  twice <- names(frame)[duplicated(names(frame))]
  if (length(twice)) stop_argument("name: more than one column is called '", twice[1L], "'")
  columns <- Map(plain_column, as.list(frame), names(frame))
  # a tibble or a data.table has the same columns
  structure(
    columns[!vapply(columns, is.null, NA)], class = "data.frame",
    row.names = attr(frame, "row.names")
  )
}

# A column in a form that pandas has, NULL with a warning where there is none. I(x) is x, and a matrix
# of one column, as scale() makes it, is that column.
plain_column <- function(values, name) {
  class(values) <- setdiff(oldClass(values), "AsIs")
  if (length(dim(values)) == 1L || identical(ncol(values), 1L) && is.matrix(values)) {
    values <- as.vector(values)
  }
  if (inherits(values, "POSIXlt")) values <- as.POSIXct(values)
  if (inherits(values, "Date")) return(structure(as.double(values), class = "Date"))
  if (inherits(values, "POSIXct")) {
    zone <- c(attr(values, "tzone"), "")[1L]
    zone <- if (zone %in% OlsonNames()) zone else "UTC"
    return(structure(as.double(values), class = "POSIXct", tzone = zone))
  }
  if (inherits(values, "difftime")) {
    return(structure(as.double(values, units = "secs"), class = "difftime"))
  }
  plain <- !is.object(values) && is.null(dim(values)) &&
    (is.numeric(values) || is.logical(values) || is.character(values))
  if (plain || is.factor(values) || inherits(values, "integer64")) return(values)
  warning(
    "column '", name, "' is of class ", class(values)[1L], ", which has no way into pandas, and is ",
    "left out; where a model needs it, convert it in R", call. = FALSE
  )
  NULL
}
