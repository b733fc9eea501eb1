"""Reports: one page a person wants to read, and short tables for the terminal."""
