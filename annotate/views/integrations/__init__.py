"""Pages for the programs that work with a project: API tokens and webhooks.

May import: models, people, webhooks, forms.
"""
