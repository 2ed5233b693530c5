"""Copies recovery points into other vaults: to another region, and to another cloud."""
