"""Trees of configs in files: TOML, YAML and JSON, and documents of other tools."""
