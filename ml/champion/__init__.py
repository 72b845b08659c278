"""Who is the champion, and how does that change? Promotion, the move of the alias, rollback, retention."""
