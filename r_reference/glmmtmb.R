# The criterion of glmmTMB, where it is installed: Laplace's approximation with observed weights.

# -2 log likelihood, or NULL where glmmTMB is not installed or finds no optimum.
glmmtmb_criterion <- function(formula, data, arguments, family) {
  if (!requireNamespace("glmmTMB", quietly = TRUE)) return(NULL)
  question <- new_question(formula, data, FALSE, arguments)
  call <- question$call_arguments
  call$REML <- NULL
  # glmmTMB has no argument `subset` that drops levels, and evaluates weights in the data
  fixed <- list()
  made <- if (family$name == "negative binomial") {
    if (!is.null(family$shape)) {
      fixed <- list(start = list(betad = log(family$shape)), map = list(betad = factor(NA)))
    }
    getExportedValue("glmmTMB", "nbinom2")(link = family$link)
  } else {
    family_object(family, NULL)
  }
  assign("model_family", made, envir = question$scope)
  call <- as.call(c(getExportedValue("glmmTMB", "glmmTMB"), call, fixed, family = as.name("model_family")))
  fit <- tryCatch(suppressWarnings(eval(call, question$scope)), error = function(condition) NULL)
  if (is.null(fit)) return(NULL)
  value <- 2 * fit$fit$objective
  if (is.finite(value)) value else NULL
}
