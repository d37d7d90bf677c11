"""Array types that are computed from other arrays, one type a file."""
