"""Checks of clouds before anything is trained on them, on NumPy arrays."""
