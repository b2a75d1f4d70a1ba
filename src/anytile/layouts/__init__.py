"""Layouts of tiles over registers, lanes, warps and shared memory, and what follows from them.

linear        the essay and `LinearLayout`
constructors  the handful of layouts that hardware and coalescing ask for
convert       how data gets from one layout to another; bank conflicts
reduce        which places a reduction, scan or gather combines
propagate     which value of a kernel has which layout
"""
