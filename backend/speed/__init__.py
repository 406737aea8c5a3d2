"""How fast it is: the goals of `likeness bench`, measured beside plain diffusers and beside other ways to the backend."""
