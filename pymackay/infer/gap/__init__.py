"""The variance that shrinkage hides, and what the literal loop will lose."""
