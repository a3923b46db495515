"""Services that are asked for their markets on a schedule: what their answers look like, and what they say."""
