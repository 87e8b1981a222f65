"""Other packages that fit mixed models: one file each."""
