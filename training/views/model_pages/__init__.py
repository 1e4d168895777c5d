"""Pages of models: the project's versions, one of them, another one added, and what may go.

May import: what training.views may.
"""
