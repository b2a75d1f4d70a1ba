"""Target-independent rewriting of the tile IR: one pass a file, `pipeline.optimize` runs them in order."""
