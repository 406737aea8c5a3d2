"""The local GPU backend of Likeness."""
