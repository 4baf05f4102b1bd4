"""How bytes move: between tiers, to the world outside, and between any two URLs; always verified, never half."""
