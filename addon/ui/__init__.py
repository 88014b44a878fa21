"""Building blocks of operators and panels, the Jobs panel and the remedies of errors."""
