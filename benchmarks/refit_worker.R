# lme4 as a worker: fits once, then refits every response for each line "refit" on standard input.
# Rscript refit_worker.R <folder of the table> <formula> <REML or ML>; the folder holds
# responses.bin besides, column by column, and receives criteria.bin.

suppressPackageStartupMessages(library(lme4))

arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]

read_column <- function(name, kind) {
  path <- file.path(folder, paste0(name, ".bin"))
  if (kind == "number") return(readBin(path, "double", file.size(path) / 8))
  codes <- readBin(path, "integer", file.size(path) / 4)
  levels <- readLines(file.path(folder, paste0(name, ".levels")), encoding = "UTF-8")
  factor(levels[codes + 1L], levels = levels)
}

columns <- read.table(file.path(folder, "columns.txt"), col.names = c("name", "kind"))
data <- as.data.frame(Map(read_column, columns$name, columns$kind))
reml <- arguments[3] == "REML"
fit <- suppressMessages(suppressWarnings(lmer(as.formula(arguments[2]), data, REML = reml)))
path <- file.path(folder, "responses.bin")
Y <- matrix(readBin(path, "double", file.size(path) / 8), nrow = nrow(data))

say <- function(...) {
  cat(sprintf(...), "\n", sep = "")
  flush(stdout())
}

say('{"lme4": "%s", "R": "%s", "BLAS": "%s"}', packageVersion("lme4"),
    paste(R.version$major, R.version$minor, sep = "."),
    sub("^lib", "", sub("\\.so.*$", "", basename(La_library()))))

input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0 && line == "refit") {
  gc()
  # the heap has just been swept: not within the time taken
  spent <- system.time(
    criteria <- apply(Y, 2, function(y) {
      again <- suppressMessages(suppressWarnings(refit(fit, y)))
      if (reml) REMLcrit(again) else deviance(again)
    }),
    gcFirst = FALSE
  )
  writeBin(criteria, file.path(folder, "criteria.bin"))
  say('{"seconds": %.6f, "cpu": %.6f}', spent[["elapsed"]],
      spent[["user.self"]] + spent[["sys.self"]])
}
