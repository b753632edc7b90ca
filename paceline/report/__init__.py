"""A batch told on one page: the numbers behind it, and the page."""
