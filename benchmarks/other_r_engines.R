# nlme and glmmTMB, called as their users call them: reads models as JSON, answers a line each.
# Rscript other_r_engines.R nlme|glmmTMB models.json answers.jsonl

arguments <- commandArgs(trailingOnly = TRUE)
engine <- arguments[1L]
suppressPackageStartupMessages({
  library(lme4)
  library(engine, character.only = TRUE)
})

# A data frame of columns {kind, values, levels}; codes count from 0, and missing ones are null.
as_data <- function(columns) {
  as.data.frame(lapply(columns, function(column) {
    values <- unlist(lapply(column$values, function(v) if (is.null(v)) NA else v))
    if (column$kind == "number") return(values)
    factor(unlist(column$levels)[values + 1L], levels = unlist(column$levels),
           ordered = column$kind == "ordered")
  }), optional = TRUE)
}

# The rows of the model.
prepared <- function(model) {
  data <- as_data(model$columns)
  if (!is.null(model$subset)) {
    data <- droplevels(data[eval(parse(text = model$subset), data), , drop = FALSE])
  }
  data
}

contrasts_of <- function(model) {
  lapply(model$contrasts, function(scheme) {
    if (is.character(scheme)) scheme else do.call(rbind, lapply(scheme, unlist))
  })
}

symmetric <- function(matrix) {
  list(names = colnames(matrix), values = unname(as.matrix(matrix)))
}

# ---- nlme: nested factors only, the coarsest first

fit_nlme <- function(model, formula, data) {
  if (!is.null(model$offset) || any(grepl("offset(", model$formula, fixed = TRUE))) {
    stop("cannot: lme() has no offset")
  }
  bars <- findbars(formula)
  groups <- vapply(bars, function(bar) deparse(bar[[3L]]), "")
  factors <- lapply(unique(groups), function(g) {
    droplevels(interaction(data[all.vars(str2lang(g))], drop = TRUE, sep = ":"))
  })
  names(factors) <- unique(groups)
  factors <- factors[order(vapply(factors, nlevels, 1L))]
  if (!nested(factors)) stop("cannot: lme() takes nested factors, and these are crossed")
  names_in_data <- paste0("group_", seq_along(factors))
  for (i in seq_along(factors)) data[[names_in_data[i]]] <- factors[[i]]
  random <- lapply(names(factors), function(g) structure_of(bars[groups == g]))
  names(random) <- names_in_data
  weights <- NULL
  if (!is.null(model$weights)) {
    data$inverse_weight <- 1 / data[[model$weights]]
    weights <- varFixed(~inverse_weight)
  }
  fit <- lme(nobars(formula), data, random, weights = weights, contrasts = contrasts_of(model),
             method = if (model$reml) "REML" else "ML", keep.data = FALSE)
  varcorr <- list()
  for (i in seq_along(factors)) {
    whole <- as.matrix(fit$modelStruct$reStruct[[names_in_data[i]]]) * fit$sigma^2
    mine <- bars[groups == names(factors)[i]]
    for (k in seq_along(mine)) {
      effects <- colnames(model.matrix(one_sided(mine[[k]][[2L]]), data))
      varcorr <- c(varcorr, list(c(list(group = names(factors)[i]),
                                   symmetric(whole[effects, effects, drop = FALSE]))))
    }
  }
  list(
    beta = as.list(fixef(fit)),
    vcov = symmetric(vcov(fit)), sigma = fit$sigma, varcorr = varcorr,
    criterion = -2 * as.numeric(logLik(fit)), fitted = unname(as.numeric(fitted(fit)))
  )
}

nested <- function(factors) {
  if (length(factors) < 2L) return(TRUE)
  all(vapply(seq_along(factors)[-1L], function(i) {
    nlevels(interaction(factors[[i]], factors[[i - 1L]], drop = TRUE)) == nlevels(factors[[i]])
  }, NA))
}

one_sided <- function(part) as.formula(call("~", part), env = globalenv())

structure_of <- function(bars) {
  if (length(bars) == 1L) return(pdLogChol(one_sided(bars[[1L]][[2L]])))
  pdBlocked(lapply(bars, function(bar) pdLogChol(one_sided(bar[[2L]]))))
}

# ---- glmmTMB: lme4's language

fit_glmmTMB <- function(model, formula, data) {
  arguments <- list(formula, data, REML = model$reml)
  if (!is.null(model$contrasts)) arguments$contrasts <- contrasts_of(model)
  if (!is.null(model$weights)) arguments$weights <- data[[model$weights]]
  if (!is.null(model$offset)) arguments$offset <- data[[model$offset]]
  fit <- do.call(glmmTMB, arguments)
  parts <- VarCorr(fit)$cond
  groups <- names(fit$modelInfo$reTrms$cond$flist)[attr(fit$modelInfo$reTrms$cond$flist, "assign")]
  effects <- ranef(fit)$cond
  list(
    beta = as.list(fixef(fit)$cond),
    vcov = symmetric(vcov(fit)$cond), sigma = sigma(fit),
    varcorr = lapply(seq_along(parts), function(i) {
      c(list(group = groups[i]), symmetric(matrix(parts[[i]], nrow(parts[[i]]),
                                                  dimnames = dimnames(parts[[i]]))))
    }),
    ranef = lapply(effects, function(table) {
      list(levels = rownames(table), names = colnames(table), values = unname(as.matrix(table)))
    }),
    criterion = -2 * as.numeric(logLik(fit)), fitted = unname(as.numeric(fitted(fit))),
    converged = isTRUE(fit$fit$convergence == 0L)
  )
}

# ---- the list of models

answer <- function(model) {
  warned <- character()
  found <- tryCatch(
    withCallingHandlers({
      # the data are looked up where the formula was made
      formula <- lme4::expandDoubleVerts(as.formula(model$formula, env = globalenv()))
      get(paste0("fit_", engine))(model, formula, prepared(model))
    }, warning = function(condition) {
      warned <<- c(warned, conditionMessage(condition))
      invokeRestart("muffleWarning")
    }),
    error = function(condition) list(error = conditionMessage(condition))
  )
  version <- as.character(packageVersion(engine))
  c(found, list(id = model$id, version = version, warnings = as.list(warned)))
}

models <- jsonlite::read_json(arguments[2L])
answers <- file(arguments[3L], "w")
for (model in models) {
  line <- jsonlite::toJSON(answer(model), auto_unbox = TRUE, digits = I(17), na = "null")
  writeLines(line, answers)
  flush(answers)
}
close(answers)
