"""Models, tokenizers and tokens: chat templates, loading, adapters, sampling, log-probabilities.
May import: config, rows, metrics, data, run.
"""
