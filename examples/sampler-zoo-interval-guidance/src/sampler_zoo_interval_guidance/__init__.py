"""Guidance in a limited interval for the sampler zoo."""
