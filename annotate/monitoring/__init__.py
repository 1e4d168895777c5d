"""Probes and figures for those who run an installation: is it alive, can it serve, how is it.

May import: models, people.
"""
