"""Models: exact ones, the bundled tiny world, and networks of a user's own."""
