"""The labelling side: people, projects, prompts, pairs, votes, labels, agreement, files in and out.

May import: its own rooms; never training, torch or what imports torch.
"""
