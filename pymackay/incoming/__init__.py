"""What comes from elsewhere, checked: RDS files, columns over reticulate, parts of saved files."""
