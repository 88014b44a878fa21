"""What fitting a field to images needs whatever the field: rays, loss, bounds, background, state."""
