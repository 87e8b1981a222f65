# One fit of crossed factors by lme4 with its defaults; prints one line of JSON.
# Rscript crossed_lme4.R <folder of the table> <formula>

suppressPackageStartupMessages(library(lme4))
arguments <- commandArgs(trailingOnly = TRUE)

read_column <- function(name) {
  path <- file.path(arguments[1], paste0(name, ".bin"))
  readBin(path, "double", file.size(path) / 8)
}

peak <- function() {
  line <- grep("^VmHWM", readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 2^20
}

names <- read.table(file.path(arguments[1], "columns.txt"))[[1]]
data <- as.data.frame(sapply(names, read_column, simplify = FALSE))
before <- peak()
spent <- system.time(fit <- suppressMessages(lmer(as.formula(arguments[2]), data)))
parts <- as.data.frame(VarCorr(fit))
blas <- sub("^lib", "", sub("\\.so.*$", "", basename(La_library())))
cat(sprintf('{"seconds": %.6f, "cpu": %.6f, "before": %.6f, "peak": %.6f, "criterion": %.17g, ',
            spent[["elapsed"]], spent[["user.self"]] + spent[["sys.self"]], before, peak(),
            REMLcrit(fit)),
    sprintf('"variances": {%s}, ', paste(sprintf('"%s": %.17g', parts$grp, parts$vcov),
                                         collapse = ", ")),
    sprintf('"evaluations": %d, "versions": "lme4 %s, R %s.%s, %s"}', fit@optinfo$feval,
            packageVersion("lme4"), R.version$major, R.version$minor, blas), "\n", sep = "")
