# Fits by glmer that cross over as R's own objects; see lmer_objects.R.

# A merMod at given parameters, as of mermod_at().
general_mermod_at <- function(formula, data, arguments, family, nagq, how, suffix, rows) {
  if (!is.null(rows)) attr(data, "row.names") <- rows
  question <- new_general_question(formula, data, arguments, family, nagq, function(name) {
    paste("pymackay", name, suffix, sep = "_")
  })
  fit <- general_mermod(question, given_parameters(question, how))
  if (estimates_shape(question)) fit@call <- with_known_shape(question, how$shape)
  parent.env(parent.env(question$scope)) <- globalenv()
  list(fit = fit, criterion = -2 * as.numeric(stats::logLik(fit)))
}

# The call of a fit whose shape was estimated: glmer() with that shape, which update() can evaluate.
with_known_shape <- function(question, shape) {
  assign(question$family_symbol, family_object(question$family, shape), envir = question$scope)
  question$family$shape <- shape
  glmer_call(question)
}

# The answer of a merMod by glmer() or glmer.nb() that came from R.
answer_of_general_mermod <- function(fit) {
  question <- new.env()
  behind <- question_of(fit)
  question$parts <- behind$parts
  question$parts$fr <- fit@frame # its response may be cbind(), of which resp$y is the proportion
  question$call_arguments <- behind$call_arguments[setdiff(names(behind$call_arguments), c("family", "nAGQ"))]
  question$family_symbol <- "family"
  question$family <- family_of_mermod(fit)
  question$nagq <- as.integer(fit@devcomp$dims[["nAGQ"]])
  refreshed <- refreshed_at(question, fit)
  own <- -2 * as.numeric(stats::logLik(fit))
  c(
    general_answer(question, fit, refreshed, own, curved = FALSE),
    list(kept = keep(list2env(list(fit = fit, question = question))))
  )
}

# Name, link and shape; R writes the shape into the name: "Negative Binomial(1.5)".
family_of_mermod <- function(fit) {
  family <- fit@resp$family
  negative <- startsWith(family$family, "Negative Binomial")
  list(
    name = if (negative) "negative binomial" else family$family,
    link = family$link,
    shape = if (negative) lme4::getME(fit, "glmer.nb.theta")
  )
}
