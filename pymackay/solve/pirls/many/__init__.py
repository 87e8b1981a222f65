"""One generalised model fitted to many responses."""
