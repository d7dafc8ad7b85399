"""Everything in one log into another: for a machine that is outgrown, or a cluster that is left."""
