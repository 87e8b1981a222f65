# lme4's refit() on the response that a model has been fitted to, and lme4's version.

refitted <- function(fit) lme4::refit(fit, stats::model.response(stats::model.frame(fit)))

lme4_version <- function() utils::packageDescription("lme4")$Version
