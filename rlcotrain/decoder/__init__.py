"""How token ids go through a decoder, for whoever speaks and whoever learns."""
