"""The command line's rooms: thin commands. Heavy imports wait until a command needs them."""
