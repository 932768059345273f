"""Proposals and who decides on them."""
