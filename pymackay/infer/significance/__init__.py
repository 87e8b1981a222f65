"""Tests of fixed effects and of variances."""
