"""Benchmarks of real pretrained models; each is run by its name alone, with --model or --base."""
