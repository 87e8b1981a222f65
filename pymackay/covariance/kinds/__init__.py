"""The kinds of structures that a covariance matrix may have, one file each."""
