"""Host-side helpers that programs import from `triton.tools`."""
