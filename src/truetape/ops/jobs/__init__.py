"""The jobs there are: one file each; the folder is the registry."""
