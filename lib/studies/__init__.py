"""Experiments made of systems, trainings and measures, which notebooks call."""
