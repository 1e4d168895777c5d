"""Completions of policies: sampled in this process or by a server, kept chunk by chunk.
May import: config, rows, metrics, run, language.
"""
