//! Our encodings and decodings against those of `kafka-protocol`.
