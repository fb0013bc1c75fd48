"""Measuring: how fast, how large, how hungry and how good a system is, with intervals, one way for every notebook."""
