"""Cross-products: all that a fit needs of the rows."""
