"""The page of one run: its verdict with all that speaks for it, from what the steps kept beside the reports."""
