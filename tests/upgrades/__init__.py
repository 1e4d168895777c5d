"""Databases as released states left them, brought up to date by the migrations of today."""
