"""Work of reviewers: search, a pair's history, adjudication, effects of votes.

May import: models, statistics, votes, queue.
"""
