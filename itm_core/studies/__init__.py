"""What is measured on finished runs: where they look, why they fail, what regulators do in them."""
