"""Files of any common shape as rows: pairs, ratings, prompts, chats; and their fingerprints.

May import: config, rows, metrics.
"""
