"""``triton.language.extra``: functions of particular targets."""
