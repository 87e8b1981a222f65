"""The solver for very large crossed factors: conjugate gradients and random probe vectors."""
