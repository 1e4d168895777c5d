"""Rules that say how much a vote on each pair would teach; acquire.py names them in a table.
May import: metrics.
"""
