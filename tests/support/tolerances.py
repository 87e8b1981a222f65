"""Every tolerance the tests use, each with its reason. None is loosened to get green."""

from __future__ import annotations

TOLERANCES: dict[str, tuple[float, str]] = {
    "printed": (5.0e-7, "half a unit of the sixth decimal: the digits that were printed"),
    "printed digits": (1e-9, "relative: the ten digits and more that R was asked to print"),
    "one ulp": (4.5e-16, "relative: pandas before version 3 reads some decimals one ulp off"),
    "printed 3": (5.0e-4, "half a unit of the third decimal, as printed"),
    "printed 7": (5.0e-8, "half a unit of the seventh decimal, as printed"),
    "printed 8": (5.0e-9, "half a unit of the eighth decimal, as printed"),
    "lme4 stops": (1e-4, "relative, of a variance: lme4's default ends 1e-5 off in theta"),
    "criterion": (1e-9, "relative: two float64 Cholesky factors of the same matrix, n up to 1e5"),
    "statistic": (1e-7, "in statistical units, at the same theta: rounding of the same formulas"),
    "oracle": (1e-8, "relative, against the dense n x n formula: its condition number times eps"),
    "difference": (1e-6, "relative, central differences of step 1e-5: rounding over the step"),
    "design": (1e-12, "of a column's largest value: the same formulas, another order of summing"),
    "nist": (1e-8, "relative: eight digits, what float64 carries of NIST's hardest sets"),
    "optimum": (1e-9, "relative, against closed forms: the optimiser leaves 1e-9 standard errors"),
    "invariance": (1e-7, "in statistical units: two optima of one criterion, each good to 1e-9"),
    "rounding of a criterion": (1e-9, "absolute: the criterion's terms are of size 1e3 at most"),
    "gradient": (1e-6, "in standard errors: a thousandth of what any comparison resolves"),
    "variance gap": (1e-8, "of the variance: linear in the gradient, which is good to 1e-9"),
    "certified": (1e-6, "absolute, criterion above a trusted optimum: the optimiser's certificate"),
    "tight criterion": (1e-8, "absolute: the criterion's own rounding, n up to 1e5"),
    "default criterion": (1e-4, "absolute: where lme4's default stops, over its versions"),
    "tight": (1e-5, "in statistical units: two searches meet where the criterion is flat to 1e-10"),
    "many": (1e-8, "relative: two searches of one criterion, each good to 1e-9 standard errors"),
    "loop": (1e-8, "relative: loop and optimiser each stop 1e-9 standard errors from the optimum"),
    "r's functions": (
        1e-4,
        "relative: a search by differences ends 1e-6 off in theta, and p-values "
        "and degrees of freedom magnify that",
    ),
    "dense descent": (1e-9, "relative: L-BFGS, by differences of G, ends so far above the optimum"),
    "dense algebra": (1e-12, "times the order of a well-conditioned matrix: a few roundings each"),
    "numerical derivatives": (1e-5, "relative, of df at the same theta: lmerTest's differences"),
    "Kenward-Roger": (1e-9, "relative, at the same theta: the same exact formulas, n x n in R"),
    "lmerTest rounds": (1e-6, "relative: type III hypotheses in lmerTest carry seven digits"),
    "nlme": (1e-4, "relative or in standard errors: nlme's search ends 1e-6 to 6e-5 off"),
    "nlme effects": (5e-4, "in their sds: variances of lme end 1e-4 off"),
    "nlme ends": (3e-3, "of an interval's length: nlme takes second derivatives by differences"),
    "nlme stops": (1e-5, "absolute: by how much nlme's criterion is above the optimum"),
    "SAS": (5e-4, "relative: PROC MIXED stops early; estimates of a flat criterion and their df"),
    "SAS stops": (2e-5, "absolute: 1e-8 of its criterion, 4e3, where PROC MIXED ends its search"),
    "profile": (1e-6, "of an interval's length: R's root, each of its minima good to 1e-9"),
    "profile spline": (1e-3, "of an interval's length: lme4 reads ends off a spline of points"),
    "glmer profile": (
        2e-3,
        "of an interval's length: lme4's criterion is one step behind by 1e-4, and its ends are "
        "read off a spline of points",
    ),
    "glmer stops": (2e-2, "in standard errors: where lme4's search of a lagging criterion ends"),
    "profile rise": (1e-5, "absolute, criterion units: a search by differences, on top of 1e-9"),
    "likelihood ends": (1e-6, "relative: 25 nodes and quadrature to rounding of one likelihood"),
    "two searches": (1e-4, "in standard errors, or relative: two searches, flat to 1e-9"),
    "second moment": (1e-6, "of the variances: the tightened optimum leaves 1e-7 standard errors"),
    "iterative": (5e-5, "relative: a decrement of 1e-8 is 1.4e-4 of a standard error of 30 %"),
    "iterative criterion": (1e-5, "absolute: quadratic in the parameters' 1e-5 standard errors"),
    "two iterative searches": (2e-4, "relative: probe solves to 1e-4 from different starts"),
    "emmeans": (1e-6, "relative, of a mean or its error at the same theta: what R prints at most"),
    "whole df": (1e-3, "absolute, of a p-value: R's emmeans rounds the df of Tukey's adjustment"),
    "mvt": (
        3e-3,
        "absolute, of a probability: the Monte-Carlo error of R's pmvt, and of its rounded df",
    ),
    "partitions": (1e-7, "in statistical units: the same sums in another order and basis"),
    "large effects": (
        1e-3,
        "relative: a second difference of step 1e-2, in long double, good to 1e-8",
    ),
    "error variances": (1e-6, "relative: effects 3e3 times the residuals, columns 1e-2 apart"),
    "network": (1e-6, "relative, of a variance: the loop on a network ends at changes of 1e-9"),
    "family": (1e-10, "relative: closed forms of one density, of sixty rows"),
    "family derivative": (1e-8, "of the largest: Richardson's differences of step 1e-3"),
    "refreshed criterion": (1e-10, "of 1 + |C|: two float64 modes and factors of one matrix"),
    "refreshed criterion, other links": (
        1e-6,
        "of 1 + |C|: Fisher scoring of lme4 ends linearly, and its mode is that rough",
    ),
    "refreshed optimum": (1e-9, "of 1 + |C|: above a trusted optimum of the same criterion"),
    "likelihood": (1e-9, "of 1 + |C|: two rules of quadrature, each converged to eight digits"),
    "glmm estimates": (1e-4, "in standard errors, or relative: two optima, flat to 1e-9"),
    "glmm standard errors": (1e-4, "relative: second differences of a gradient, recorded"),
    "gpboost estimates": (1e-4, "in standard errors: its search stops early on a flat criterion"),
    "loop by means": (
        1e-7,
        "relative: the loop stops at changes of 1e-8, on a dispersion's flat criterion",
    ),
    "glmmPQL": (
        2e-3,
        "of an intercept's variance or a standard error: R stops when the squared change of the "
        "linear predictor is 1e-6 of its square",
    ),
    "runaway": (1e-4, "absolute: sigma goes to zero, and the criterion to its limit as sigma²"),
    "runaway relative": (1e-3, "of a standard error, of a variance: what is left of that way"),
    "probed variance": (0.02, "mean relative error of a level's variance from 64 probe vectors"),
}


def tol(name: str) -> float:
    """Return the tolerance called `name`."""
    return TOLERANCES[name][0]
