# Prints the data sets named on the command line (package::name) as R holds them, one line a
# column: name, column, classes, levels, values. Doubles are in hexadecimal, factors as codes.

for (arg in commandArgs(trailingOnly = TRUE)) {
  parts <- strsplit(arg, "::", fixed = TRUE)[[1]]
  home <- new.env()
  data(list = parts[2], package = parts[1], envir = home)
  frame <- home[[parts[2]]]
  for (column in names(frame)) {
    x <- frame[[column]]
    values <- if (is.double(x)) sprintf("%a", x) else sprintf("%d", as.integer(x))
    cat(parts[2], column, paste(class(x), collapse = " "), paste(levels(x), collapse = "|"),
        paste(values, collapse = " "), sep = "\t")
    cat("\n")
  }
}
