"""The contract between Likeness's backend and everything that talks to it."""
