"""Input from outside, checked: RDS files, tables of other packages, parts of saved files."""
