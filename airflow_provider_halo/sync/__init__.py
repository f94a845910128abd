"""One run: rows → records → changes → outcomes → report."""
