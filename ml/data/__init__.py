"""Are the rows good, and how are they divided? Expectations, pages about the questions, and the split."""
