//! How oddities are written and read.
