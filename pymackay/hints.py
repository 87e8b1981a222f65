"""Names of other packages (R, statsmodels, scikit-learn, pymer4), and what they are called here."""

from __future__ import annotations

from collections.abc import Collection, Mapping

FIT_NAMES = {
    "AIC": "fit.aic",
    "BIC": "fit.bic",
    "REMLcrit": "fit.criterion",
    "VarCorr": "fit.varcorr",
    "bootMer": "fit.bootstrap()",
    "bse": "fit.std_error",
    "bse_fe": "fit.std_error",
    "bse_re": "fit.confint()",
    "coef_": "fit.beta",
    "coefs": "fit.coefficients()",
    "conf_int": "fit.confint()",
    "converged": "fit.convergence.converged",
    "cov_params": "fit.vcov",
    "cov_re": "fit.varcorr",
    "deviance": "fit.criterion",
    "df_modelwc": "fit.df",
    "df_resid": "fit.n_obs - fit.df",
    "emmeans": "pymackay.emmeans(fit, ...)",
    "f_test": "fit.contrast([0, 1])",
    "fe_params": "fit.beta",
    "fit_stats": "fit.glance()",
    "fitted_values": "fit.fitted",
    "fittedvalues": "fit.fitted",
    "fixed_effects": "fit.beta",
    "fixef": "fit.beta",
    "get_prediction": "fit.predict()",
    "getME": "fit.theta, fit.model_matrix()",
    "icc": "pymackay.icc(fit)",
    "intercept_": "fit.beta",
    "isSingular": "fit.singular",
    "llf": "fit.loglik",
    "logLik": "fit.loglik",
    "marginal_estimates": "pymackay.emmeans(fit, ...)",
    "ngrps": "fit.model.levels",
    "nobs": "fit.n_obs",
    "p_values": "fit.coefficients()['Pr(>|t|)']",
    "params": "fit.beta",
    "plot_diagnostics": "pymackay.check(fit)",
    "post_hoc": "pymackay.emmeans(fit, ...).pairs()",
    "pvalues": "fit.coefficients()['Pr(>|t|)']",
    "r2": "pymackay.r2(fit)",
    "random_effects": "fit.ranef",
    "random_effects_cov": "fit.condvar",
    "ranef_var": "fit.varcorr",
    "ranova": "fit.random_tests()",
    "re_params": "fit.ranef",
    "rePCA": "fit.random_effects_pca()",
    "refitML": "pymackay.lmer(fit.formula, data, reml=False)",
    "resid": "fit.residuals",
    "rsquared": "pymackay.r2(fit)",
    "scale": "fit.sigma ** 2",
    "se": "fit.std_error",
    "std_errors": "fit.std_error",
    "summary2": "fit.summary()",
    "t_test": "fit.contrast([0, 1])",
    "t_test_pairwise": "pymackay.emmeans(fit, ...).pairs()",
    "to_pickle": "fit.save('fit.mackay')",
    "tvalues": "fit.coefficients()['t value']",
    "vcomp": "fit.varcorr",
    "wald_test": "fit.contrast([0, 1])",
    "wald_test_terms": "fit.anova()",
}
"""Attribute of a fit elsewhere to what gives it here."""

PACKAGE_NAMES = {
    **{name: FIT_NAMES[name] for name in FIT_NAMES if name[0].isupper()},
    "binomial": "pymackay.Binomial",
    "gamma": "pymackay.Gamma",
    "gaussian": "pymackay.Gaussian",
    "inverse_gaussian": "pymackay.InverseGaussian",
    "negative_binomial": "pymackay.NegativeBinomial",
    "poisson": "pymackay.Poisson",
    "allFit": "pymackay.compare, which says whether another optimum is lower",
    "bootMer": "pymackay.bootstrap(fit)",
    "check_model": "pymackay.check(fit)",
    "coef": "fit.coef()",
    "contest": "fit.contrast([0, 1])",
    "cooks_distance": "fit.influence()",
    "deviance": "fit.criterion",
    "drop1": "fit.drop1()",
    "fitted": "fit.fitted",
    "fixef": "fit.beta",
    "getME": "fit.theta, fit.model_matrix()",
    "glmer_nb": "pymackay.glmer(formula, data, pymackay.NegativeBinomial())",
    "glmmTMB": "pymackay.glmer(formula, data, family)",
    "influence": "fit.influence()",
    "isSingular": "fit.singular",
    "lme": "pymackay.lmer(formula, data)",
    "lmerControl": "the argument control of pymackay.lmer",
    "lmerTest": "fit.coefficients(), fit.anova()",
    "logLik": "fit.loglik",
    "ls_means": "pymackay.emmeans(fit, ...)",
    "lsmeans": "pymackay.emmeans(fit, ...)",
    "mixed_lm": "pymackay.lmer(formula, data)",
    "mixedlm": "pymackay.lmer(formula, data)",
    "model_matrix": "fit.model_matrix()",
    "modelsummary": "pymackay.etable([fit1, fit2])",
    "ngrps": "fit.model.levels",
    "nobs": "fit.n_obs",
    "pairs": "pymackay.emmeans(fit, ...).pairs()",
    "plot_model": "pymackay.plots",
    "ranef": "fit.ranef",
    "ranova": "fit.random_tests()",
    "read_csv": "pandas.read_csv; or give the path as data",
    "rePCA": "fit.random_effects_pca()",
    "refitML": "pymackay.lmer(fit.formula, data, reml=False)",
    "resid": "fit.residuals",
    "residuals": "fit.residuals",
    "save": "fit.save('fit.mackay')",
    "sigma": "fit.sigma",
    "simulateResiduals": "pymackay.simulated_residuals(fit)",
    "summary": "fit.summary()",
    "tab_model": "pymackay.etable([fit1, fit2])",
    "update": "pymackay.lmer with another formula, or fit.refit(y) for another response",
    "vcov": "fit.vcov",
}
"""Function of lme4 and its friends to what does it here."""

ARGUMENTS = {
    "REML": "reml: reml=True or reml=False",
    "family": "an argument of pymackay.glmer, which fits generalised models",
    "groups": "part of the formula: y ~ x + (1 | groups)",
    "method": "reml: reml=True is REML, reml=False is maximum likelihood",
    "nAGQ": "nagq, an argument of pymackay.glmer",
    "na_action": "not needed: rows with a missing value are left out",
    "re_formula": "part of the formula: y ~ x + (x | group)",
    "vc_formula": "part of the formula: y ~ x + (1 | group) + (1 | other)",
    "verbose": "progress, where a function has it",
}
"""Argument elsewhere to what it is here."""

GENERAL_ARGUMENTS = {
    **ARGUMENTS,
    "REML": "not needed: generalised models are fitted by maximum likelihood",
    "link": "part of the family, such as family=pymackay.Binomial('probit')",
    "method": "not needed: generalised models are fitted by maximum likelihood",
    "nAGQ": "nagq",
    "reml": "not needed: generalised models are fitted by maximum likelihood",
}
"""The same for functions that fit generalised models only."""

OTHER_FAMILIES = {
    "beta": "for proportions of trials use 'binomial' with the numbers of trials as weights",
    "betabinomial": "add an effect for each row to a 'binomial' model: (1 | row)",
    "multinomial": "compare the categories two by two with 'binomial'",
    "nbinom1": "pymackay.NegativeBinomial() has the variance mu + mu^2 / theta (nbinom2)",
    "quasi": "its criterion is no likelihood; name the family whose variance it has",
    "quasibinomial": "add an effect for each row to a 'binomial' model: (1 | row)",
    "quasipoisson": "use 'negative binomial', or add an effect for each row: (1 | row)",
    "zip": "zeros beyond a Poisson distribution's often follow from 'negative binomial'",
}
"""Families of other packages, and what can be done with those that are here."""


def missing_attribute(owner: str, name: str, known: Mapping[str, str]) -> AttributeError:
    """Return the error for an attribute that a class does not have, with the name it has here."""
    hint = f"; here it is {known[name]}" if name in known else ""
    return AttributeError(f"{owner!r} object has no attribute {name!r}{hint}")


def missing_name(name: str) -> AttributeError:
    """Return the error for a name that the package does not have, with what does it here."""
    hint = f"; here it is {PACKAGE_NAMES[name]}" if name in PACKAGE_NAMES else ""
    return AttributeError(f"module 'pymackay' has no attribute {name!r}{hint}")


def argument_hint(function: str, name: str, known: Collection[str]) -> str | None:
    """Return the message for an argument of another package, None if it is not one.

    Parameters
    ----------
    function, name : str
        The function's name, and the argument that it was called with.
    known : collection of str
        The arguments that the function has.
    """
    hints = GENERAL_ARGUMENTS if "family" in known and "reml" not in known else ARGUMENTS
    if name in known or name not in hints:
        return None
    return f"{function} has no argument {name!r}; here it is {hints[name]}."
