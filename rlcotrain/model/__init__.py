"""Weights that speak and learn."""
