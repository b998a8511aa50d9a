"""What Heji costs, as ratios within one run: ``make bench`` prints tables and writes results.json."""
