# The door from Python: runs one function, and hands back what it said and how it ended as data.

# Calls `name` with `arguments`, in a session that is as R comes, whatever the user has made of it.
run <- function(name, arguments) {
  heard <- new.env()
  heard$warnings <- heard$messages <- character()
  put_back <- as_r_comes()
  on.exit(put_back())
  outcome <- tryCatch(
    list(status = "ok", value = listen(do.call(function_called(name), arguments), heard)),
    interrupt = function(condition) list(status = "interrupted"),
    error = function(condition) failure(condition)
  )
  c(outcome, list(warnings = heard$warnings, messages = heard$messages))
}

# A function of these scripts or of R, else one of the user's.
function_called <- function(name) {
  found <- get0(name, mode = "function")
  if (is.null(found)) get(name, envir = globalenv(), mode = "function") else found
}

# Options on which a model or the names of its levels depend become R's own, and text is sorted by
# code point, so that levels which R makes itself come in the same order on every machine. Returns
# the function that makes the session the user's again.
as_r_comes <- function() {
  before <- options(
    contrasts = c(unordered = "contr.treatment", ordered = "contr.poly"), na.action = "na.omit",
    OutDec = ".", scipen = 0L, digits = 7L, lmerControl = NULL
  )
  places <- vapply(c("LC_COLLATE", "LC_NUMERIC"), Sys.getlocale, "")
  # R warns of any LC_NUMERIC but "C"
  set <- function(name, place) suppressWarnings(Sys.setlocale(name, place))
  for (name in names(places)) set(name, "C")
  function() {
    options(before)
    for (name in names(places)) set(name, places[[name]])
  }
}

# Evaluates `expression`; keeps its warnings and messages in `heard` instead of showing them.
listen <- function(expression, heard) {
  withCallingHandlers(
    expression,
    warning = function(condition) {
      heard$warnings <- c(heard$warnings, conditionMessage(condition))
      invokeRestart("muffleWarning")
    },
    message = function(condition) {
      heard$messages <- c(heard$messages, sub("\n$", "", conditionMessage(condition)))
      invokeRestart("muffleMessage")
    }
  )
}

failure <- function(condition) {
  call <- conditionCall(condition)
  list(
    status = if (inherits(condition, "bad_argument")) "bad_argument" else "error",
    error = conditionMessage(condition),
    # the function's name only: its arguments may be whole data frames
    where = if (is.call(call)) paste(deparse(call[[1L]]), collapse = " ")[1L] else ""
  )
}

# Stops because of what the user passed, which Python reports as an error of that argument.
stop_argument <- function(...) {
  stop(structure(
    class = c("bad_argument", "error", "condition"),
    list(message = paste0(...), call = NULL)
  ))
}

# Objects that Python refers to by number. They never leave R, so no other thread can free them.
kept <- new.env()
counter <- new.env()
counter$last <- 0L

keep <- function(object) {
  counter$last <- counter$last + 1L
  assign(as.character(counter$last), object, envir = kept)
  counter$last
}

kept_now <- function() length(kept)

recall <- function(number) get(as.character(number), envir = kept, inherits = FALSE)

forget <- function(number) {
  rm(list = as.character(number), envir = kept)
  NULL
}

versions <- function() {
  package <- function(name) {
    if (requireNamespace(name, quietly = TRUE)) utils::packageDescription(name)$Version
  }
  found <- list(
    R = paste(R.version$major, R.version$minor, sep = "."),
    lme4 = package("lme4"),
    Matrix = package("Matrix"),
    BLAS = normalizePath(extSoftVersion()[["BLAS"]], mustWork = FALSE),
    nloptr = package("nloptr"),
    minqa = package("minqa")
  )
  doublevert <- getOption("lme4.doublevert.default")
  if (!is.null(doublevert)) found$doublevert <- as.character(doublevert)
  found[!vapply(found, is.null, NA)]
}

# R reads UTF-8 names only in a UTF-8 locale; a bare container has none. Says whether there is one.
use_utf8 <- function() {
  for (place in c("C.UTF-8", "C.utf8", "en_US.UTF-8", "UTF-8")) {
    if (suppressWarnings(Sys.setlocale("LC_CTYPE", place)) != "") return(TRUE)
  }
  FALSE
}

use_ctype <- function(place) Sys.setlocale("LC_CTYPE", place)
