"""The marks that every ``If`` of a site carries in the file: which site, which call of it, and from which route on."""

SITE_KEY, CALL_KEY, MIDDLE_KEY = "rr.site", "rr.call", "rr.middle"  # keys of the node's metadata
