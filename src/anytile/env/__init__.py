"""Environments: what is installed, what is wrong with it, and what mends it.

Reading order: `facts` (what can be known), `collect` and `log` (where it comes from), `rules` (what it means), `diagnose` (the
ranking), `report` (how it is told). Nothing here imports a package that it examines: an environment that crashes on
`import torch` can be looked at like any other.
"""
