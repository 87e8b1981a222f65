"""Generalised models of lme4: the question, and `glmer`."""
