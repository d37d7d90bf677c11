"""Volumes of DVID servers."""
