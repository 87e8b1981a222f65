"""How a model with huge crossed factors is fitted: conjugate gradients and probe vectors."""
