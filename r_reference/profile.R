# The user's start-up file, read when R runs: R itself would read it in the middle of its start.

# Reads the file at `path` as R does, but shows nothing of what it prints, and does not let it end R.
# Returns what stopped it, or an empty string.
read_profile <- function(path) {
  no_end <- function(...) stop("it calls quit()", call. = FALSE)
  name <- "pymackay:profile"
  attach(list(quit = no_end, q = no_end), name = name, warn.conflicts = FALSE)
  on.exit(detach(name, character.only = TRUE))
  stopped <- ""
  utils::capture.output(tryCatch(
    suppressMessages(suppressWarnings(sys.source(path, envir = globalenv()))),
    error = function(condition) stopped <<- paste0(conditionMessage(condition), ".")
  ))
  stopped
}
