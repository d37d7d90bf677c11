"""Array types that are read from somewhere: the only input I/O, one type a file."""
