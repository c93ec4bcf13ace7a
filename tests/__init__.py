"""The tests: a package of their own, whatever else is installed under this name."""
