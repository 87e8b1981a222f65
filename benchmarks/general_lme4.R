# lme4 as a worker: Rscript general_lme4.R <table.csv> <formula> <weights or -> <repeats>
# Fits a binomial model, the first time uncounted where there are several, and prints JSON.

suppressPackageStartupMessages(library(lme4))
arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1], stringsAsFactors = TRUE)
formula <- as.formula(arguments[2])
repeats <- as.integer(arguments[4])
data$.w <- if (arguments[3] == "-") 1 else data[[arguments[3]]]

seconds <- numeric()
for (k in seq_len(repeats + (repeats > 1))) {
  gc()
  spent <- system.time(
    fit <- suppressMessages(suppressWarnings(
      glmer(formula, data = data, family = binomial, weights = .w)
    )),
    gcFirst = FALSE
  )
  seconds <- c(seconds, sum(spent[1:2]))
}
sd <- sapply(VarCorr(fit), function(V) attr(V, "stddev")[1])
cat(sprintf('{"seconds": [%s], "sd": [%s], "version": "%s"}\n',
            paste(tail(seconds, repeats), collapse = ", "),
            paste(sprintf("%.10g", sd), collapse = ", "), packageVersion("lme4")))
