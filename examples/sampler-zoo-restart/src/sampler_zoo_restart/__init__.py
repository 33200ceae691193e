"""Restart sampling for the sampler zoo."""
