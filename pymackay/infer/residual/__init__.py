"""What follows from a fit with a covariance structure of the residuals, where it differs."""
