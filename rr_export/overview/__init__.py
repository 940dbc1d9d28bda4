"""All that is known of a bundle, gathered once: shown as one self-contained page, and in the terminal."""
