"""Models and rounds handed on: whole folders, a hub, OpenRLHF, the memory they would need.
May import: config, rows, run, language, evaluation.
"""
