"""How fast it is, measured beside plain diffusers: the goals of `likeness bench engine`, `start` and `memory`."""
