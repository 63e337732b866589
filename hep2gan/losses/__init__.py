"""The losses of eqs 1 to 7: plain torch modules that return named terms."""
