"""What the interpreter does with each kind of expression and statement."""
