"""Where datasets live: tiers, the folders in them, and how a version becomes visible."""
