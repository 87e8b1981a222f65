"""The exact solver: factors of the mixed-model equations."""
