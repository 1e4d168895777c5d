"""The training engine: files and arrays in, files and numbers out. No Django."""
