"""Pages of reviewers and admins: quality, annotators, adjudication, gold pairs.

May import: views, views.labelling, and what they may import.
"""
