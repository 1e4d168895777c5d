"""Many people or programs at once against a running installation."""
