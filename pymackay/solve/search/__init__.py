"""The search for the optimum."""
