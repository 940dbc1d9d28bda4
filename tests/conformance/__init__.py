"""The conformance suite: the same cases on every execution provider, and the table of what holds where.

``make.py`` writes ``cases/`` from eager torch, ``worker.py`` runs them without torch, ``runners/`` holds one adapter
per provider with its exceptions, ``page.py`` writes ``docs/conformance.md``; ``python -m tests.conformance`` runs all.
"""
