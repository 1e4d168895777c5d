"""Completions written by servers or models for a project's prompts: start, cost, preview, result.

May import: models, versions, runs, rounds.
"""
