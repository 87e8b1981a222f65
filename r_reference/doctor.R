# Says what this R has, one `name=value` line each, for `pymackay doctor`; needs base R only.
#
#   Rscript r_reference/doctor.R

version_of <- function(package) {
  if (nzchar(system.file(package = package))) utils::packageDescription(package)[["Version"]] else ""
}

blas <- extSoftVersion()[["BLAS"]]
cat(
  paste0("R=", getRversion()),
  paste0("home=", R.home()),
  paste0("lme4=", version_of("lme4")),
  paste0("Matrix=", version_of("Matrix")),
  # the link's target: on Debian the name libblas.so.3 says nothing
  paste0("blas=", if (nzchar(blas)) normalizePath(blas, mustWork = FALSE) else La_library()),
  sep = "\n"
)
cat("\n")
