"""The page "Does attention explain?"."""
