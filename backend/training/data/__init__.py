"""Training data that several recipes share: procedural chairs and their rendered views."""
