"""Does the model fit its data? Influence, simulated residuals, and a panel of checks."""
