"""Sites as modules, and the run: which route every site takes now, and who decided it."""
