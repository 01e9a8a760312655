"""Time what may be built in more than one way, and keep what is fastest on this machine."""
