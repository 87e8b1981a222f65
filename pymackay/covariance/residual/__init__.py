"""The covariance of residuals: variances by stratum, correlations by time, unstructured."""
