"""What follows from a fit of a generalised model, where it differs from linear ones."""
