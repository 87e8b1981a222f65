# What lme4's lFormula makes of a list of formulas: model matrices, names, levels, rows.
#
# Usage: Rscript design_reference.R DIRECTORY
#
# DIRECTORY holds tables.dcf (Name, File, Columns, Levels), the CSV files it names, and cases.dcf
# (Name, Data, Formula, and optionally Weights, Offset, Subset, Contrasts: R expressions).
# The answers go to DIRECTORY/answers.json. Only base R and lme4 are used.

suppressPackageStartupMessages({
  library(lme4)
  library(splines)
})
invisible(Sys.setlocale("LC_COLLATE", "C"))

# ---- JSON, as much as is needed ------------------------------------------------------------------

json_string <- function(x) {
  if (!length(x)) {
    return(character())
  }
  x <- gsub("\\", "\\\\", enc2utf8(x), fixed = TRUE)
  x <- gsub("\"", "\\\"", x, fixed = TRUE)
  x <- gsub("\n", "\\n", x, fixed = TRUE)
  x <- gsub("\t", "\\t", x, fixed = TRUE)
  paste0("\"", x, "\"")
}

json_number <- function(x) {
  text <- sprintf("%.17g", x)
  text[is.nan(x)] <- "NaN"
  text[is.na(x) & !is.nan(x)] <- "null"
  text[is.infinite(x)] <- ifelse(x[is.infinite(x)] > 0, "Infinity", "-Infinity")
  text
}

json_array <- function(items) paste0("[", paste(items, collapse = ","), "]")

json <- function(x) {
  if (is.null(x)) {
    return("null")
  }
  if (is.list(x)) {
    items <- vapply(x, json, "")
    if (is.null(names(x))) {
      return(json_array(items))
    }
    return(paste0("{", paste(json_string(names(x)), items, sep = ":", collapse = ","), "}"))
  }
  if (is.character(x)) json_array(json_string(x)) else json_array(json_number(as.numeric(x)))
}

# ---- tables --------------------------------------------------------------------------------------

read_table <- function(entry, directory) {
  kinds <- strsplit(entry[["Columns"]], ";", fixed = TRUE)[[1]]
  classes <- ifelse(kinds %in% c("factor", "ordered"), "character", kinds)
  table <- utils::read.csv(
    file.path(directory, entry[["File"]]),
    colClasses = classes, check.names = FALSE, na.strings = "NA", encoding = "UTF-8"
  )
  levels <- eval(parse(text = entry[["Levels"]], encoding = "UTF-8"))
  for (i in which(kinds %in% c("factor", "ordered"))) {
    table[[i]] <- factor(
      table[[i]],
      levels = levels[[names(table)[i]]], ordered = kinds[i] == "ordered"
    )
  }
  table
}

# ---- one case ------------------------------------------------------------------------------------

# The columns of a term's left side, one row for each observation, read back from its rows of Z'.
term_columns <- function(transposed, codes, q) {
  n <- ncol(transposed)
  vapply(
    seq_len(q),
    function(k) as.numeric(transposed[cbind((codes - 1L) * q + k, seq_len(n))]),
    numeric(n)
  )
}

describe_terms <- function(terms) {
  assign <- attr(terms$flist, "assign")
  names <- names(terms$flist)[assign]
  unique_names <- if (anyDuplicated(names)) make.names(names, unique = TRUE) else names
  lapply(seq_along(assign), function(i) {
    factor <- terms$flist[[assign[i]]]
    effects <- terms$cnms[[i]]
    columns <- term_columns(terms$Ztlist[[i]], as.integer(factor), length(effects))
    list(
      name = unique_names[i], group = names[i], effects = effects,
      columns = as.numeric(columns)
    )
  })
}

describe <- function(made, dropped_messages) {
  contrasts <- attr(made$X, "contrasts")
  kinds <- lapply(contrasts, function(k) if (is.character(k)) k else "matrix")
  factors <- lapply(made$reTrms$flist, function(f) {
    list(levels = levels(f), codes = as.integer(f) - 1L)
  })
  list(
    response = names(made$fr)[1L],
    y = as.numeric(stats::model.response(made$fr)),
    fixed = as.character(colnames(made$X)),
    X = as.numeric(made$X),
    dropped = as.character(names(attr(made$X, "col.dropped"))),
    contrasts = if (length(kinds)) kinds else NULL,
    rows = rownames(made$fr),
    weights = stats::model.weights(made$fr),
    offset = stats::model.offset(made$fr),
    terms = describe_terms(made$reTrms),
    factors = factors,
    messages = dropped_messages
  )
}

expression_of <- function(text) parse(text = text, keep.source = FALSE, encoding = "UTF-8")[[1]]

answer <- function(case) {
  call <- call("lFormula", formula = expression_of(case[["Formula"]]), data = quote(case_data))
  fields <- c(Weights = "weights", Offset = "offset", Subset = "subset", Contrasts = "contrasts")
  for (field in names(fields)) {
    if (field %in% names(case) && !is.na(case[[field]])) {
      call[[fields[[field]]]] <- expression_of(case[[field]])
    }
  }
  said <- character()
  tryCatch(
    withCallingHandlers(
      describe(eval(call, globalenv()), said),
      message = function(m) invokeRestart("muffleMessage"),
      warning = function(w) invokeRestart("muffleWarning")
    ),
    error = function(e) list(error = conditionMessage(e))
  )
}

# ---- all cases -----------------------------------------------------------------------------------

main <- function(directory) {
  entries <- read.dcf(file.path(directory, "tables.dcf"), keep.white = "Levels")
  Encoding(entries) <- "UTF-8"
  tables <- list()
  for (i in seq_len(nrow(entries))) {
    tables[[entries[i, "Name"]]] <- read_table(entries[i, ], directory)
  }
  cases <- read.dcf(file.path(directory, "cases.dcf"))
  Encoding(cases) <- "UTF-8"
  answers <- list()
  for (i in seq_len(nrow(cases))) {
    assign("case_data", tables[[cases[i, "Data"]]], envir = globalenv())
    answers[[cases[i, "Name"]]] <- answer(cases[i, ])
  }
  versions <- list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4")))
  writeLines(
    json(list(versions = versions, answers = answers)),
    file(file.path(directory, "answers.json"), encoding = "UTF-8")
  )
}

main(commandArgs(trailingOnly = TRUE)[[1]])
