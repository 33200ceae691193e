"""The recipes that made the bundled weights, and that make a user's own."""
