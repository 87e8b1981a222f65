"""What R says: lme4 asked live over rpy2, or read from recordings of its answers."""
