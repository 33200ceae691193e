"""What the papers say about samplers, measured on the bundled model: `zoo claims`."""
