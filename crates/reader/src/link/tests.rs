//! A link against a peer that is written by hand, byte by byte.
