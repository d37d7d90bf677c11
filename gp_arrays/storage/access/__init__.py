"""Access to the bytes of a store: in files, in zip files, at URLs."""
