"""What preparation found, for people: the film with everything drawn over it, and a page to read."""
