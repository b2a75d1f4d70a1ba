"""Layouts of tiles over registers, lanes, warps and shared memory, and how data gets from one to another.

linear     the essay and `LinearLayout`
convert    plans: nothing, renaming, shuffles, or by way of shared memory
reduction  plans: which lanes and warps combine their partial results, and where the results lie then
shared     arrangements in shared memory; bank conflicts
"""
