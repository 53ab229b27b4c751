"""The built site: made light, described, and weighed."""
