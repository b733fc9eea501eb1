"""Timing executables so that the numbers can be trusted."""
