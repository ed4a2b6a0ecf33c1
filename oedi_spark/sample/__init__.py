"""A made-up piece of the OEDI bucket: the real keys and columns, invented loads."""
