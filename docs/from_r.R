# pymackay from R: fit a data frame of R's in Python, and go on in R with a genuine merMod.
#
#   RETICULATE_PYTHON=.venv/bin/python Rscript docs/from_r.R
#
# Needs lme4 and reticulate in R, and pymackay with its extra r in that Python.

library(reticulate)
pm <- import("pymackay", convert = FALSE)

cake <- lme4::cake
formula <- "angle ~ recipe + temp + (1 | recipe:replicate)"

# frame() takes the data frame by its name, factors and NA as they are. to_r() gives the merMod at
# our theta a name in R: nothing is optimised again.
fit <- pm$lmer(formula, pm$lme4$frame("cake"))
invisible(pm$lme4$to_r(fit, name = "ours"))

print(class(ours))
print(summary(ours), correlation = FALSE)
print(anova(ours))
print(head(predict(ours, data.frame(recipe = "B", temp = c(180, 200)), re.form = NA)))

theirs <- lme4::lmer(angle ~ recipe + temp + (1 | recipe:replicate), cake)
stopifnot(
  identical(levels(ours@frame$recipe), levels(cake$recipe)),
  all.equal(lme4::fixef(ours), lme4::fixef(theirs), tolerance = 1e-6),
  all.equal(sigma(ours), sigma(theirs), tolerance = 1e-5),
  lme4::REMLcrit(ours) <= lme4::REMLcrit(theirs) + 1e-6
)

# A data frame may also be handed to Python by reticulate itself, which turns a missing truth value
# into TRUE and a missing text into the text "NA": where values are missing, take frame().
again <- pm$lmer(formula, cake)
stopifnot(all.equal(py_to_r(again$criterion), py_to_r(fit$criterion), tolerance = 1e-12))

# A merMod of R's goes to Python by its name: reticulate cannot hand it over.
back <- pm$lme4$from_r("theirs")
stopifnot(all.equal(py_to_r(back$criterion), lme4::REMLcrit(theirs), tolerance = 1e-12))

# What else Python can do with the fit, it can be asked for from here.
comparison <- pm$compare(fit, pm$lme4$lmer(formula, cake))
cat("verdict:", py_to_r(comparison$verdict), "\n")
