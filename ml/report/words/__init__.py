"""What is said in words: the verdict, a record in a log, a notice, a question to a person."""
