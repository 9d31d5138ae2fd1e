//! demo placeholder.
