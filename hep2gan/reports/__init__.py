"""Figures and the HTML report: pure functions of predictions and run folders."""
