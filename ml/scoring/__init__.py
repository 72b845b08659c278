"""Which questions does the champion flag, and are they still like those that it was trained on?"""
