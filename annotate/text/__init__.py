"""Text of prompts and replies as safe HTML: Markdown, formulas, word differences.

May import: nothing of annotate.
"""
