"""Checks: one file each; the folder is the registry. Every file offers one `CHECK`."""
