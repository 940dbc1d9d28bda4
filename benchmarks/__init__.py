"""What a routed file costs, as ratios against its peers, each taken in one interleaved run."""
