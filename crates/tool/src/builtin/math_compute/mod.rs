//! `math_compute`: arithmetic without rounding.

mod arithmetic;
mod function;
mod parse;
mod show;
mod tool;

pub(super) use tool::COMPUTATION;
