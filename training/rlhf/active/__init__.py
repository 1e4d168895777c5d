"""Active learning: new completions made into pairs, and those chosen that teach most.
May import: config, rows, acquire, run, reward.
"""
