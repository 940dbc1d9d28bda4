"""Makes the documentation site of what the repository holds: mkdocs.yml names what is in it."""
