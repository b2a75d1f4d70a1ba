"""Programs that run in the examined environment, under its own Python: nothing of them is imported by anytile itself.

They need nothing but what they examine, and Python 3.9.
"""
