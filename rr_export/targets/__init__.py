"""Other forms of a routed model, each for one execution provider, made from its bundle alone."""
