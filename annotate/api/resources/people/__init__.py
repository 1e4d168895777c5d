"""People: members and invitations, and the batches of pairs that are given to them.

May import: models, people, review, forms, api.
"""
