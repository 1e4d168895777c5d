"""Tables for annotators that are models: who they are, and their votes, apart from people's.

May import: annotate.models.project, annotate.models.pair, annotate.models.dataset_version.
"""
