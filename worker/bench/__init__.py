"""The performance figures on this machine, as ratios to a baseline in the same run."""
