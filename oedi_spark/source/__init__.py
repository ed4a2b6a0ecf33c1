"""What OEDI publishes: keys, releases, storage, listing."""
