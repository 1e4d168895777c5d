"""The examples of docs/extending.md in use; tests/test_extending.py runs these in a copy."""
