# Exports the data sets of lme4 and nlme, and one of HSAUR3, to data/*.csv and data/datasets.json.
#
#   Rscript r_reference/export_data.R [output directory, default data]
#
# Needs the R packages jsonlite and digest.
#
# Every number is written with the fewest digits that read back to the same double; factors are
# written by label, their levels in R's order stand in datasets.json. Files over 100 kB are
# compressed (gzip -n: no name, no time, so the bytes depend on the data alone). The SHA-256 is
# that of the uncompressed text.

suppressPackageStartupMessages({
  library(jsonlite)
  library(digest)
})

PACKED_ABOVE <- 100000

SETS <- list(
  sleepstudy = list(package = "lme4", description = paste(
    "Reaction times of 18 people over ten days of an experiment on sleep deprivation;",
    "from Belenky et al. (2003), Journal of Sleep Research 12."
  )),
  Dyestuff = list(package = "lme4", description = paste(
    "Yield of dyestuff from six batches of an intermediate product, five preparations each;",
    "from Davies and Goldsmith (1972), Statistical Methods in Research and Production."
  )),
  Dyestuff2 = list(package = "lme4", description = paste(
    "Simulated yields laid out as Dyestuff, in which the batches do not differ:",
    "the variance between batches is estimated as zero; from Box and Tiao (1973)."
  )),
  Penicillin = list(package = "lme4", description = paste(
    "Diameter of growth inhibition for six penicillin samples on each of 24 plates",
    "(complete crossing); from Davies and Goldsmith (1972)."
  )),
  Pastes = list(package = "lme4", description = paste(
    "Strength of a chemical paste: ten batches, three casks from each, two tests of each cask",
    "(nesting); from Davies and Goldsmith (1972)."
  )),
  cake = list(package = "lme4", description = paste(
    "Angle at which chocolate cakes break, by recipe and baking temperature, 15 replicates",
    "(split plot); from Cook (1938) by way of Cochran and Cox (1957)."
  )),
  InstEval = list(package = "lme4", description = paste(
    "Ratings of lecturers by students at ETH Zurich: 2972 students and 1128 lecturers,",
    "partly crossed, 73421 ratings."
  )),
  VerbAgg = list(package = "lme4", description = paste(
    "Answers of 316 people to 24 questions about verbal aggression;",
    "from De Boeck and Wilson (2004), Explanatory Item Response Models."
  )),
  cbpp = list(package = "lme4", description = paste(
    "New cases of contagious bovine pleuropneumonia in 15 herds of Ethiopian zebu cattle over four",
    "periods, of the animals at risk; from Lesnoff et al. (2004), Preventive Veterinary Medicine 64."
  )),
  grouseticks = list(package = "lme4", description = paste(
    "Ticks on the heads of 403 red grouse chicks, by brood, location, year and height;",
    "from Elston et al. (2001), Parasitology 122."
  )),
  Arabidopsis = list(package = "lme4", description = paste(
    "Fruits of 625 plants of Arabidopsis thaliana, by population, genotype, nutrients and clipping;",
    "from Banta, Stevens and Pigliucci (2010), Oikos 119."
  )),
  Orthodont = list(package = "nlme", description = paste(
    "Distance between two points of the skull of 27 children at ages 8, 10, 12 and 14;",
    "from Potthoff and Roy (1964), Biometrika 51."
  )),
  Oxboys = list(package = "nlme", description = paste(
    "Heights of 26 boys in Oxford on nine occasions against standardised age;",
    "from Goldstein (1987) by way of Pinheiro and Bates (2000)."
  )),
  Machines = list(package = "nlme", description = paste(
    "Productivity of six workers, each on three machines three times;",
    "from Milliken and Johnson (1992), Analysis of Messy Data."
  )),
  Rail = list(package = "nlme", description = paste(
    "Travel time of ultrasonic waves in six railway rails, three readings each;",
    "from Devore (2000) by way of Pinheiro and Bates (2000)."
  )),
  Oats = list(package = "nlme", description = paste(
    "Yield of three varieties of oats at four levels of nitrogen in six blocks (split plot);",
    "from Yates (1935)."
  )),
  Pixel = list(package = "nlme", description = paste(
    "Pixel intensity of CT scans of both sides of ten dogs over the days after an injection;",
    "from Pinheiro and Bates (2000), Mixed-Effects Models in S and S-PLUS."
  )),
  BtheB = list(package = "HSAUR3", shape = "long_trial", description = paste(
    "Depression (Beck Depression Inventory II) of 97 patients of a clinical trial two, three, five",
    "and eight months after the start, by treatment: as usual (TAU) or with the program Beat the",
    "Blues (BtheB); from Proudfoot et al. (2003), Psychological Medicine 33."
  ))
)

# One row for each visit that took place: the package has one row for each patient.
long_trial <- function(wide) {
  months <- c(2L, 3L, 5L, 8L)
  at <- expand.grid(month = months, patient = seq_len(nrow(wide)))
  scores <- as.matrix(wide[paste0("bdi.", months, "m")])
  frame <- data.frame(
    patient = factor(at$patient),
    wide[at$patient, c("drug", "length", "treatment")],
    bdi_pre = wide$bdi.pre[at$patient],
    month = at$month,
    bdi = scores[cbind(at$patient, match(at$month, months))],
    row.names = NULL
  )
  frame <- frame[!is.na(frame$bdi), ]
  frame$patient <- droplevels(frame$patient)
  frame
}

# The shortest of 15, 16 and 17 digits that reads back to the same double.
shortest <- function(x) {
  text <- sprintf("%.15g", x)
  for (format in c("%.16g", "%.17g")) {
    off <- as.numeric(text) != x
    text[off] <- sprintf(format, x[off])
  }
  text
}

as_text <- function(x) {
  if (is.factor(x)) as.character(x) else if (is.integer(x)) sprintf("%d", x) else shortest(x)
}

column_type <- function(x) {
  if (is.ordered(x)) "ordered"
  else if (is.factor(x)) "factor"
  else if (is.integer(x)) "integer"
  else if (is.double(x)) "numeric"
  else stop("no way to export a column of class ", class(x)[1])
}

describe_column <- function(name, x) {
  described <- list(name = unbox(name), type = unbox(column_type(x)))
  if (is.factor(x)) described$levels <- levels(x)
  described
}

get_data <- function(name, package) {
  home <- new.env()
  data(list = name, package = package, envir = home)
  as.data.frame(home[[name]])
}

csv_text <- function(frame) {
  fields <- lapply(frame, as_text)
  if (anyNA(frame) || any(grepl("[\",\n]", unlist(fields)))) {
    stop("missing values, commas and quotes are not provided for")
  }
  lines <- c(paste(names(frame), collapse = ","), do.call(paste, c(unname(fields), sep = ",")))
  paste0(lines, "\n", collapse = "")
}

write_file <- function(text, path) {
  unlink(c(path, paste0(path, ".gz")))
  connection <- file(path, "wb")
  writeBin(charToRaw(text), connection)
  close(connection)
  if (nchar(text, "bytes") <= PACKED_ABOVE) return(basename(path))
  if (system2("gzip", c("-n", "-9", shQuote(path))) != 0) stop("gzip failed on ", path)
  paste0(basename(path), ".gz")
}

export <- function(name, set, directory) {
  frame <- get_data(name, set$package)
  if (!is.null(set$shape)) frame <- get(set$shape)(frame)
  text <- csv_text(frame)
  about <- packageDescription(set$package)
  list(
    file = unbox(write_file(text, file.path(directory, paste0(name, ".csv")))),
    sha256 = unbox(digest(text, algo = "sha256", serialize = FALSE)),
    description = unbox(set$description),
    package = unbox(set$package),
    version = unbox(about$Version),
    licence = unbox(about$License),
    rows = unbox(nrow(frame)),
    columns = unname(Map(describe_column, names(frame), frame))
  )
}

main <- function(directory = "data") {
  exported <- Map(export, names(SETS), SETS, directory)
  writeLines(toJSON(exported, pretty = 1), file.path(directory, "datasets.json"), useBytes = TRUE)
}

do.call(main, as.list(commandArgs(trailingOnly = TRUE)))
