"""How γ is computed from the generalised Gauss-Newton matrix of a network."""
