"""What real pretrained models do here; each is run by its name alone, with --model or --base."""
