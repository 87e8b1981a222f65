# Fits models with covariance structures by lme4 2.x and writes its answers as JSON; 17 digits.
#
#   Rscript r_reference/record_structures.R DATA_FOLDER OUTPUT_FILE

library(lme4)

models <- list(
  list("sleepstudy", "Reaction ~ Days + diag(Days | Subject)", TRUE),
  list("sleepstudy", "Reaction ~ Days + diag(Days | Subject, hom = TRUE)", FALSE),
  list("sleepstudy", "Reaction ~ Days + cs(Days | Subject)", TRUE),
  list("sleepstudy", "Reaction ~ Days + cs(Days | Subject, hom = TRUE)", TRUE),
  list("sleepstudy", "Reaction ~ Days + ar1(0 + factor(Days) | Subject)", TRUE),
  list("sleepstudy", "Reaction ~ Days + ar1(0 + factor(Days) | Subject)", FALSE),
  list("sleepstudy", "Reaction ~ Days + (1 | Subject) + ar1(0 + factor(Days) | Subject)", TRUE),
  list("Machines", "score ~ Machine + us(0 + Machine | Worker)", TRUE),
  list("Machines", "score ~ Machine + diag(0 + Machine | Worker)", TRUE),
  list("Machines", "score ~ Machine + cs(0 + Machine | Worker)", TRUE),
  list("Machines", "score ~ Machine + cs(0 + Machine | Worker)", FALSE),
  list("Machines", "score ~ Machine + cs(0 + Machine | Worker, hom = TRUE)", TRUE),
  list("Pastes", "strength ~ 1 + cs(0 + cask | batch, hom = TRUE)", TRUE),
  list("Orthodont", "distance ~ age + Sex + ar1(0 + factor(age) | Subject)", TRUE),
  list("Orthodont", "distance ~ age + Sex + diag(age | Subject)", TRUE),
  list("Oats", "yield ~ nitro + cs(0 + Variety | Block, hom = TRUE)", TRUE)
)

# The optimum of lmer, then searched again from there until the criterion falls no more.
tight <- function(formula, data, reml) {
  control <- lmerControl(
    optimizer = "nloptwrap", check.conv.singular = "ignore",
    optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-14, maxeval = 1e5)
  )
  fit <- lmer(formula, data, REML = reml, control = control)
  for (k in 1:20) {
    again <- update(fit, start = getME(fit, "par"))
    if (!(criterion(again) < criterion(fit))) return(fit)
    fit <- again
  }
  fit
}

criterion <- function(fit) -2 * as.numeric(logLik(fit))

named <- function(x) as.list(x)

# The table of a data set of this folder, its factors with the levels that datasets.json lists.
read_set <- function(name, folder) {
  described <- jsonlite::read_json(file.path(folder, "datasets.json"))[[name]]
  data <- read.csv(file.path(folder, described$file))
  for (column in described$columns) {
    if (is.null(column$levels)) next
    data[[column$name]] <- factor(
      data[[column$name]], levels = unlist(column$levels), ordered = column$type == "ordered"
    )
  }
  data
}

by_level <- function(table) {
  rows <- lapply(seq_len(nrow(table)), function(i) unname(unlist(table[i, ])))
  stats::setNames(rows, rownames(table))
}

answer <- function(model, folder) {
  data <- read_set(model[[1]], folder)
  fit <- tight(stats::as.formula(model[[2]]), data, model[[3]])
  terms <- VarCorr(fit)
  names(terms) <- make.unique(names(terms))
  list(
    data = model[[1]], formula = model[[2]], reml = model[[3]],
    criterion = criterion(fit), sigma = sigma(fit),
    beta = named(fixef(fit)), std_error = named(sqrt(diag(as.matrix(vcov(fit))))),
    par = named(getME(fit, "par")), theta = named(getME(fit, "theta")),
    varcorr = lapply(terms, function(term) unname(matrix(as.numeric(term), nrow(term)))),
    ranef = lapply(ranef(fit, condVar = FALSE), by_level),
    df = attr(logLik(fit), "df")
  )
}

arguments <- commandArgs(TRUE)
if (packageVersion("lme4") < "2.0") stop("structures came with lme4 2.0")
found <- list(
  versions = list(
    R = as.character(getRversion()), lme4 = packageDescription("lme4")$Version,
    Matrix = packageDescription("Matrix")$Version
  ),
  answers = lapply(models, answer, folder = arguments[1])
)
writeLines(
  jsonlite::toJSON(found, auto_unbox = TRUE, digits = I(17), matrix = "rowmajor", pretty = 1),
  arguments[2]
)
