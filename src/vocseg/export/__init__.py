"""Trained networks as files for other programs: one graph from images to masks."""
