"""Which machines train together, and how do they find each other?"""
