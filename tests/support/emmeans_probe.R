# What R's package emmeans says of a model: means, comparisons and joint tests, in one call.

probe_emmeans <- function(formula, data, contrasts, specs, by, at, weights, mode, type, trend,
                          test_terms) {
  given <- list(formula = stats::as.formula(formula), data = data)
  if (length(contrasts)) given$contrasts <- contrasts
  fit <- suppressMessages(suppressWarnings(do.call(lme4::lmer, given)))
  # with its derivatives, which emmeans would compute anew for every row
  fit <- suppressMessages(suppressWarnings(lmerTest::as_lmerModLmerTest(fit)))
  if (!length(by)) by <- NULL
  asked <- list(fit, specs, by = by, weights = weights, lmer.df = mode, type = type, data = data)
  if (length(at)) asked$at <- at
  quiet <- function(x) suppressMessages(suppressWarnings(x))
  means <- if (nzchar(trend)) {
    quiet(do.call(emmeans::emtrends, c(asked[c(1, 2)], list(var = trend), asked[-(1:2)])))
  } else {
    quiet(do.call(emmeans::emmeans, asked))
  }
  # numbers only: columns by position, because their names change with what they are of
  columns <- function(x, ends) {
    table <- as.data.frame(quiet(x))
    p <- ncol(table)
    table <- lapply(table[(p - ends + 1L):p], as.numeric)
    lapply(table, function(v) ifelse(is.na(v), NaN, v))
  }
  contrast <- function(...) quiet(emmeans::contrast(means, ...))
  pairs <- contrast("pairwise")
  tests <- function(x, adjust) {
    table <- as.data.frame(quiet(summary(x, infer = c(FALSE, TRUE), adjust = adjust)))
    value <- if ("estimate" %in% names(table)) "estimate" else "ratio"
    ratio <- if ("t.ratio" %in% names(table)) "t.ratio" else "z.ratio"
    made <- list(table[[value]], table$SE, table$df, table[[ratio]], table$p.value)
    lapply(made, function(v) ifelse(is.na(v), NaN, as.numeric(v)))
  }
  joint <- if (test_terms) {
    as.data.frame(quiet(emmeans::joint_tests(fit, lmer.df = mode, data = data)))
  }
  list(
    theta = unname(lme4::getME(fit, "theta")),
    means = columns(stats::confint(means), 5L),
    tukey = tests(pairs, "tukey"),
    mvt = tests(pairs, "mvt"),
    sidak = tests(pairs, "sidak"),
    holm = tests(pairs, "holm"),
    bonferroni = tests(pairs, "bonferroni"),
    intervals = columns(stats::confint(pairs, adjust = "tukey"), 5L),
    treatment = tests(contrast("trt.vs.ctrl"), "none"),
    consecutive = tests(contrast("consec"), "none"),
    effects = tests(contrast("eff"), "fdr"),
    poly = tests(contrast("poly"), "none"),
    joint = list(as.character(joint$`model term`), joint$df1, joint$df2, joint$F.ratio,
                 joint$p.value)
  )
}
