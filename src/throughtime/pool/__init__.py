"""Trainings in processes of their own, of which `compare` and `tune` have several at a time."""
