"""The numbers of the search, each named once, with its reason; `Control` holds those of users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Control:
    """When the optimiser stops, in units of the criterion.

    Attributes
    ----------
    max_iterations : int
    spent : float
        Newton decrement under which nothing is left to gain. Far below the criterion's rounding,
        because the gradient is known much better: an error of 1e-9 standard errors remains.
    spent_average : float
        The same where only the average information is affordable: its steps gain three digits each.
    quadratic : float
        Newton decrement under which a further step must shrink it, or rounding has been reached.
    """

    max_iterations: int = 100
    spent: float = 1e-18
    spent_average: float = 1e-17
    quadratic: float = 1e-6


# ---- rounding of the criterion

ROUNDING = 1e-14  # of |criterion|, of n: some sixty units in the last place of what is summed up
ROUNDING_LEFT = 1e-15  # by the share of the response's squares that is left over: what it lost
LEVEL = 10.0  # roundings within which two criteria are the same
EXHAUSTED = 100.0  # roundings: a gain below it that no step makes is out of reach

# ---- the trust region; steps are in units of each parameter's size and noise

FIRST_RADIUS, LARGEST_RADIUS = 1.0, 8.0  # as far as such a unit says something of the criterion
POOR, GOOD = 0.25, 0.75  # shares of the predicted gain under, over which the radius changes
SHRINK, GROW = 0.25, 3.0  # what it is multiplied by then
EDGE = 0.8  # of the radius: a shorter step was not held back, and asks for no larger one
ENOUGH = 0.05  # share of the predicted gain that makes a step worth taking
HALVED = 0.5  # decrement after by before, near the optimum: Newton's steps do far better
ON_SPHERE = 1e-3  # relative error of a step's length
BISECTIONS = 100  # more than float64 has halvings
FLAT = 1e-12  # of the largest curvature: below, a direction has none
FLOOR = 1e-10  # of the largest curvature: what steepness counts a flat direction with

# ---- the boundary of the cone of covariance matrices; unit: a level's noise

SHRINKS, SHRINK_START = 6, 0.1  # times that a start is made smaller before zero takes its place
LEAVES = (
    1e-7  # slope into the cone, criterion by noise level, that makes a point leave the boundary
)
GROWTHS = (1.0, 1e-2, 1e-4)  # noise levels that its covariance matrix grows by, tried in turn
DEAD = 1e-5  # sd along an axis, noise levels, under which zero is tried

# ---- the certificate

CERTIFIED = 1e-8  # Newton decrement: 1e-4 standard errors
CURVED = 1e-6  # of the largest curvature: a direction that curves down by more is a saddle's
WANTS_GROWTH = 1e-6  # slope into the cone, ten times what makes a point leave the boundary
LITTLE = 1e-12  # residual variance, response at unit length: four digits of r² are left
STILL_FALLING = 1e-3  # Newton decrement, criterion units, of a search that found no optimum
VANISHING = 1e-6  # residual variance of such a search, response at unit length: on its way to zero
RUNAWAY_SCALE, RUNAWAY_STEPS = 3.0, 16  # sds are multiplied by it, so often at most
RUNAWAY_GAP = 1e-4  # criterion units above its limit, within which it counts as reached

# ---- flat ridges: variances that the data do not determine; unit: a variance and its noise

RIDGE_CURVATURE = 1e-9  # of the largest curvature, or of one: below, the criterion may be flat
RIDGE_STEPS = (0.5, -0.5, 0.02, -0.02)  # moves along a ridge that must leave the criterion as it is
RIDGE_SLOPE = 1e-6  # criterion units by unit along a ridge that the boundary keeps one from
RIDGE_SHARE = 1e-5  # of the largest change along a ridge: what changes less has no part in it
FLAT_MOVES = (0.5, -0.5)  # moves in a chart along a direction without curvature
FLAT_SHARE = 1e-3  # relative change of a parameter, after a search from there, that is one

# ---- starts

RIDGE = 0.03  # of the mean information: keeps levels with few rows from dominating
BLIND = 1e-8  # share of the largest effect below which a direction tells nothing
AFFORDABLE = 10**8  # products that the fixed columns' own part in the moments may take
LEFT = 1e-10  # of the response's squares: a smaller remainder is taken to be this
START_FLOOR = 0.1  # of the noise level: starts stay inside, where every direction has a slope
START_CEILING = 1e6  # relative variance beyond which a larger start tells nothing
REACH = 1e12  # relative variance by noise level: beyond, float64 loses the levels' noise beside it
VAGUE_ANGLE = 0.15  # standard error of a correlation's angle, over which it may be elsewhere too
CORRELATIONS = (0.05, 0.35, 0.95)  # shares of the width of its bounds, where it is looked for
LOADINGS = (0.65, 0.95)  # the same where a change of all signs changes nothing
SMALL_SD = 0.4  # noise levels' roots: standard deviations there, which may grow or vanish
MANY_EFFECTS = 20  # of a level: with more and structures, starts are simpler moments
OVERLAP = 0.1  # share of what one block leaves that others may be thought to leave of it
SPREADS = (10.0, 1.0)  # further starts: sd of every effect in units of its noise level
NEAR_ZERO = 0.1  # the same, where no random effects at all are better
HIDDEN = 1e-2  # share of a column that the others leave, below which it tells little
NOTHING = 1e-10  # such a share, below which nothing is left but rounding

# ---- valleys: further minima of the criterion

FEW_ROWS = 80  # up to which several variances are searched from starts all over
SCAN_CELLS = 2_000_000  # numbers held at a time by a scan: of one, and the most that a level costs
PROFILE_CELLS = 50_000  # levels by columns squared up to which one variance is scanned: 1 ms
ALIKE_DIGITS = 12  # to which levels must agree that are summed up as one, by the largest
VALLEY_LOW, VALLEY_HIGH = 1e-3, 1e5  # relative variance by noise: less is none, more is all
VALLEY_STEP = 0.25  # of the log of a variance; no feature of a profile is narrower than one
VALLEY_MARGIN = 1e-3  # criterion units by which a point of a valley may be above its floor, besides
SPREAD_POINTS, SPREAD_MOST = 64, 512  # points by parameter (and one more), and at most
SPREAD_SIZES = (-1.5, 2.5)  # log10 of sd by noise level
SPREAD_NONE = 0.01  # sd by noise level, where it is nearly zero
VALLEYS = 6  # searches that follow, in the lowest of the valleys
WAY_POINTS = 12  # on the way from one point to another, to see whether they share a valley
WAY_FLOOR = 1e-6  # variance by noise level that stands for zero, which has no logarithm
WAY_RISE = 1e-7  # criterion units: less is rounding

# ---- basins: points that follow the criterion down side by side, before searches start

BASIN_POINTS = 512  # spread all over, of which each cell's lowest goes down
BASIN_CELLS, STRUCTURED_CELLS = 24, 48  # random cells that the points are divided into
TERM_POINTS, TERM_CELLS = 64, 8  # the same, of points that move one term only
BASIN_PARAMETERS = 12  # up to which the second differences are worth their points
BASIN_ROUNDS = 8  # of Newton's method: it gains digits fast near the bottom
BASIN_RADIUS = 1.0  # of a step, in units of a column's size
BASIN_SIZES = (1.0, 2.0, 0.5, 0.15, 0.03)  # multiples of a step that are tried
BASIN_DIFFERENCE = 1e-3  # unit: a column's size; 1e-6 of a curvature is lost
BASIN_FLAT = 1e-6  # of the largest curvature: smaller ones count as this
BASIN_APART = 1e-4  # criterion units between valleys that are different
BASIN_FIRST = 3  # rounds after which points of many responses are looked at
BASIN_LAST = 16  # rounds of the points that do not lead to what is known; they are few
BASIN_WAY = 4  # points on the way from one of them to the optimum that is known
BASIN_NEAR = 0.3  # of a column's size: predicted bottoms as near to the optimum are the optimum,
BASIN_SAME = 0.2  # criterion units: where their predicted criteria agree to this
BASIN_SPENT = 1e-4  # criterion units: a bottom where Newton's method gains less
BASIN_HELD = 100_000  # numbers in one batch of levels: what stays near the processor

LARGEST_LOG = 100.0  # of a dispersion or shape: where a search may look, far from any estimate
LOG_STEP = 1e-4  # of a log dispersion or log shape, for a difference of exact slopes
