"""Stores: access to their bytes, metadata and chunks, for sources and for outputs."""
