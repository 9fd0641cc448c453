"""What a row is worth, what a token costs, and how many rows make one step."""
