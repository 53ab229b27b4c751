"""The page "Why is my number lower?"."""
