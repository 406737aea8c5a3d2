"""Measures what the papers claim, on drawn people the model was never trained on: identity, editing, control, and four more."""
