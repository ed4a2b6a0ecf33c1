"""What the `oedi-spark aws` commands do with a deployment: run it, follow it, ask it. No stage."""
