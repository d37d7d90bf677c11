"""Where the bytes of a store lie: files, zip files, and URLs."""
