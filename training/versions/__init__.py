"""Model versions: gates and promotion, lineage, cards, serving, and removal of weights.

May import: models, figures.
"""
