"""What turns features and token ids into fragments: regions and words of one width."""
