"""Active learning beside selection: audits, learning curves, automatic acceptance."""
