"""Where searches of a generalised model begin, and which of their ends is the lowest."""
