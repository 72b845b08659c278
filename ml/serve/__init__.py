"""Does the exported model serve, and what does that cost?"""
