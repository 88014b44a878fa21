"""Camera poses that are refined or aligned, and what compares them."""
