//! `data_filter`: what of some data is wanted, by a jq filter or by simple conditions.

mod condition;
mod jq;
mod tool;

pub(super) use tool::COMPUTATION;
