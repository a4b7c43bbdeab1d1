//! What a cache of metadata still believes, and when.
