"""Weight files: catalogue, store, loading."""
