//! The thin shell over monoio: sockets, deadlines, the clock, files. Moves bytes and decides nothing.
