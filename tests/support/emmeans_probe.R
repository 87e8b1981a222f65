# What R's package emmeans says of a model: means, comparisons and joint tests, in one call.
# Two answers depend on its version, and are given as emmeans 1.8.4 does: the size of a family with
# comparisons that are not estimable, and differences of log(y + 1).

# emmeans 1.8.8 and later leave comparisons that are not estimable out of the family
counts_estimable_only <- utils::packageVersion("emmeans") >= "1.8.8"

# The rows of each family of comparisons, of a table of `x`.
families <- function(x, table) {
  by <- x@misc$by.vars
  if (!length(by)) return(list(seq_len(nrow(table))))
  split(seq_len(nrow(table)), as.list(table[by]), drop = TRUE)
}

# How many means m comparisons are all the pairs of.
compared <- function(m) (1 + sqrt(1 + 8 * m)) / 2

# p-values adjusted in families of all comparisons, estimable or not; Tukey's at whole df.
p_in_whole_families <- function(x, adjust) {
  table <- as.data.frame(summary(x, infer = c(FALSE, TRUE), adjust = "none"))
  t <- abs(table[[grep("^[tz][.]ratio$", names(table))]])
  p <- table$p.value
  for (rows in families(x, table)) {
    m <- length(rows)
    p[rows] <- switch(adjust,
      none = p[rows],
      tukey = stats::ptukey(sqrt(2) * t[rows], compared(m), round(table$df[rows]),
                            lower.tail = FALSE),
      sidak = 1 - (1 - p[rows])^m,
      stats::p.adjust(p[rows], adjust, n = m)
    )
  }
  p
}

# Tukey's intervals in families of all comparisons: estimate, SE, df, and both ends.
tukey_in_whole_families <- function(x) {
  table <- as.data.frame(summary(x, infer = c(TRUE, FALSE), adjust = "none"))
  for (rows in families(x, table)) {
    m <- length(rows)
    df <- table$df[rows]
    reach <- stats::qtukey(0.95, compared(m), df) / sqrt(2)
    if (m == 1L) reach <- stats::qt(0.975, df)
    table[rows, ncol(table) - 1:0] <- table$estimate[rows] +
      outer(table$SE[rows] * reach, c(-1, 1))
  }
  table
}

# emmeans 2.0.4 leaves differences of log(y + 1) as they are; 1.8.4 takes their exponentials.
ratios <- function(x, table) {
  if (!identical(x@misc$orig.tran, "log(mu + 1)") || !"estimate" %in% names(table)) return(table)
  table$estimate <- exp(table$estimate)
  table$SE <- table$estimate * table$SE
  ends <- grep("[.]CL$", names(table))
  table[ends] <- exp(table[ends])
  table
}

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
    if (counts_estimable_only && anyNA(table$p.value) && adjust != "mvt") {
      table$p.value <- p_in_whole_families(x, adjust)
    }
    if (type == "response") table <- ratios(x, table)
    made <- list(table[[value]], table$SE, table$df, table[[ratio]], table$p.value)
    lapply(made, function(v) ifelse(is.na(v), NaN, as.numeric(v)))
  }
  intervals <- stats::confint(pairs, adjust = "tukey")
  if (counts_estimable_only && anyNA(intervals$SE)) intervals <- tukey_in_whole_families(pairs)
  if (type == "response") intervals <- ratios(pairs, intervals)
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
    intervals = columns(intervals, 5L),
    treatment = tests(contrast("trt.vs.ctrl"), "none"),
    consecutive = tests(contrast("consec"), "none"),
    effects = tests(contrast("eff"), "fdr"),
    poly = tests(contrast("poly"), "none"),
    joint = list(as.character(joint$`model term`), joint$df1, joint$df2, joint$F.ratio,
                 joint$p.value)
  )
}
