"""Stores: where their bytes lie, what they say of their arrays, and the chunks; all that sources and outputs share."""
