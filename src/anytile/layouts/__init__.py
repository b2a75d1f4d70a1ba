"""Layouts of tiles over registers, lanes, warps and shared memory, and how data gets from one to another.

linear    the essay and `LinearLayout`
convert   plans: nothing, renaming, shuffles, or by way of shared memory
shared    arrangements in shared memory; bank conflicts
"""
