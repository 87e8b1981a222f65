# Says what this R has, one `name=value` line each, for `pymackay doctor`; needs base R only.
#
#   Rscript r_reference/doctor.R [start-up file]
#
# The start-up file is read in the way in which pymackay reads it; `profile` says what stopped it.

version_of <- function(package) {
  if (nzchar(system.file(package = package))) utils::packageDescription(package)[["Version"]] else ""
}

options <- commandArgs(trailingOnly = FALSE)
here <- dirname(sub("^--file=", "", grep("^--file=", options, value = TRUE)[1L]))
profile <- commandArgs(trailingOnly = TRUE)
stopped <- ""
if (length(profile)) {
  sys.source(file.path(here, "profile.R"), readers <- new.env())
  stopped <- gsub("[[:space:]]+", " ", readers$read_profile(profile[1L]))
}

blas <- extSoftVersion()[["BLAS"]]
cat(
  paste0("R=", getRversion()),
  paste0("home=", R.home()),
  paste0("lme4=", version_of("lme4")),
  paste0("Matrix=", version_of("Matrix")),
  # the link's target: on Debian the name libblas.so.3 says nothing
  paste0("blas=", if (nzchar(blas)) normalizePath(blas, mustWork = FALSE) else La_library()),
  paste0("profile=", stopped),
  sep = "\n"
)
cat("\n")
