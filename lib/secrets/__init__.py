"""Secrets: keys on disk, encrypted values, and masks that hide values from readers."""
