# lme4 as a worker: reads a table, then fits once for every line "fit" on standard input.
# Rscript lme4_worker.R <folder of the table> <formula>

started <- proc.time()[["elapsed"]]
suppressPackageStartupMessages(library(lme4))
imported <- proc.time()[["elapsed"]] - started

arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]
formula <- as.formula(arguments[2])

read_column <- function(name, kind) {
  path <- file.path(folder, paste0(name, ".bin"))
  if (kind == "number") return(readBin(path, "double", file.size(path) / 8))
  codes <- readBin(path, "integer", file.size(path) / 4)
  levels <- readLines(file.path(folder, paste0(name, ".levels")), encoding = "UTF-8")
  structure(codes + 1L, levels = levels,
            class = if (kind == "ordered") c("ordered", "factor") else "factor")
}

columns <- read.table(file.path(folder, "columns.txt"), col.names = c("name", "kind"))
data <- as.data.frame(Map(read_column, columns$name, columns$kind))

say <- function(...) {
  cat(sprintf(...), "\n", sep = "")
  flush(stdout())
}

blas <- sub("^lib", "", sub("\\..*$", "", basename(extSoftVersion()[["BLAS"]])))
lapack <- sub("^lib", "", sub("\\.so.*$", "", basename(La_library())))
say('{"version": "%s", "libraries": "R %s, Matrix %s, BLAS %s", "import": %.6f}',
    packageVersion("lme4"), paste(R.version$major, R.version$minor, sep = "."),
    packageVersion("Matrix"), lapack, imported)

input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0 && line == "fit") {
  rm(list = intersect("fit", ls()))
  gc()
  # the heap has just been swept: not within the time taken
  spent <- system.time(fit <- suppressMessages(suppressWarnings(lmer(formula, data))),
                       gcFirst = FALSE)
  seconds <- spent[["elapsed"]]
  say('{"seconds": %.6f, "cpu": %.6f, "criterion": %.17g, "evaluations": %d, "note": "%s"}',
      seconds, spent[["user.self"]] + spent[["sys.self"]], REMLcrit(fit),
      fit@optinfo$feval, "")
}
