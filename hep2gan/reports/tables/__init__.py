"""Tables of methods, with their intervals and comparisons."""
