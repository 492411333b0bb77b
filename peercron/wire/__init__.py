"""Wire: how rows, commands, frames and snapshots look as bytes. msgpack only; nothing here can run code."""
