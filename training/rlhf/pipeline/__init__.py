"""The stages of a round, the commands and the recipes: thin calls of the rooms below.

May import: every other room of the engine.
"""
