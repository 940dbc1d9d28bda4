"""Shows what ``rr_runtime.tools`` measures as tables and plots, from this environment or another one."""
