"""One module per notebook: what that page alone computes, tabulates and draws."""
