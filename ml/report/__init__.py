"""What is a person told? The verdict in words, and the pages and pictures behind it."""
