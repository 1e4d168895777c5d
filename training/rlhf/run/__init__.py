"""The run directory: lock, fence, journal, checkpoints, publishing; one `Work`; several processes.

May import: config, rows, metrics, data.
"""
