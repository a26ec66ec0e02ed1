"""Which run gets which device next: in an order that can always be gone on with, and as the plan says."""
