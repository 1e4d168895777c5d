"""Text of prompts and replies as safe HTML: Markdown, chats, JSON, formulas, word differences.

May import: nothing of annotate.
"""
