"""Ways in: links that invite, mail, and limits of what strangers may try.

May import: models.
"""
