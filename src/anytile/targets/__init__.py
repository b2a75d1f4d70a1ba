"""Where tile IR becomes something that runs.  `base` says what a target is."""
