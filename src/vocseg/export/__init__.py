"""Trained networks as files for other programs: one graph from pictures to masks."""
