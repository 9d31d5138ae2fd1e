//! Receipts: `GET /receipts/{id}` for their owner, `POST /receipts/verify` for anybody who holds one.

mod show;
mod verify;

pub(crate) use show::{receipt, show};
pub(crate) use verify::{check, verify};
