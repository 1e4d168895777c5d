"""Processes that load models for the web side: the generator of the playground, and a probe.
May import: config, rows, metrics, language, reward, completions.
"""
