"""Metrics: scores of finished pictures."""
