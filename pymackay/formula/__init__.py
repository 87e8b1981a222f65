"""R's formula language: text in, a specification out; no data."""
