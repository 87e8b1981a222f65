# What lmerTest and lme4 say of smaller models, numbers by row.

probe_reduction <- function(formula, data, with_step) {
  quiet <- function(x) suppressMessages(suppressWarnings(x))
  given <- list(formula = stats::as.formula(formula), data = data,
                control = lme4::lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9)))
  fit <- quiet(do.call(lmerTest::lmer, given))
  plain <- function(table) {
    table <- as.data.frame(table)
    list(rows = rownames(table), columns = names(table),
         values = unname(lapply(table, function(v) ifelse(is.na(v), NaN, as.numeric(v)))))
  }
  answer <- list(
    theta = unname(lme4::getME(fit, "theta")),
    random = plain(quiet(lmerTest::ranova(fit))),
    drop1 = plain(quiet(stats::drop1(fit))),
    pca = lapply(lme4::rePCA(fit), function(x) list(sd = x$sdev, rotation = unname(x$rotation)))
  )
  if (with_step) {
    found <- quiet(lmerTest::step(fit))
    answer$step <- list(random = plain(found$random), fixed = plain(found$fixed))
  }
  answer
}
