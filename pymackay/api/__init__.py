"""The functions that fit models: each takes a formula and data, and returns a fit."""
