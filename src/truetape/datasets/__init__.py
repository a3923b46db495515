"""Datasets of prediction markets: reading what was built, and the audit that nothing in it looks ahead."""
