"""Output of a comparison: text, JSON, notebook and HTML report."""
