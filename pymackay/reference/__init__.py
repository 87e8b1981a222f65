"""What R says: lme4 live over rpy2, or recorded."""
