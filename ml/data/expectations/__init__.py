"""Great Expectations: suites from our JSON, run on rows, and their results in plain words and as Data Docs."""
