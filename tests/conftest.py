"""For all tests."""

import signal

# A shell starts background jobs with SIGINT ignored, and children inherit that; the tests of Ctrl-C need what a terminal gives.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
