//! Conversations over lines in memory: what servers do that mean no good.
