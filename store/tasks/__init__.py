"""Tasks, their images and annotations."""
