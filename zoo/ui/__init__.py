"""The page: the only part of the zoo, with app.py, that imports gradio."""
