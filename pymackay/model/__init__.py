"""What is fitted: formula, design, cross-products."""
