"""Tables that several pages share, and how they are shown."""
