"""Chunked-store access that sources and output share."""
