"""Tags and filters of the templates: figures, tabs, marked-up text.

May import: models, text, people.
"""
