"""Numbers and plots from texts, scores and votes: calibration, overlap, intervals. Torch-free.
May import: config, rows.
"""
