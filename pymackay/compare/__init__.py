"""How two fits differ."""
