"""Task families: rows in, Problems out; one file a family."""
