"""Other valleys of the criterion of small data, and searches that start in them."""
