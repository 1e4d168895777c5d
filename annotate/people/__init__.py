"""Members of a project: permissions, figures, warnings, guidelines, payment.

May import: models, text, statistics, votes.
"""
