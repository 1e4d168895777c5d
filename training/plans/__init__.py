"""What a round will do and need: its settings from defaults, preset, plan and form, and estimates.

May import: models, figures, versions.
"""
