"""Plans of rounds: settings from defaults, presets and choices, and what a round will need.

May import: models, figures, versions.
"""
