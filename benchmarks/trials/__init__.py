"""Trials of what the product decides and says, in simulated worlds whose truth is known."""
