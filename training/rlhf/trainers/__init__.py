"""The optimisers that TRL and transformers train: SFT, DPO, KTO, ORPO, RLOO and GRPO.
May import: config, rows, metrics, data, run, language, reward, completions, ppo.
"""
