"""The sampler zoo."""
