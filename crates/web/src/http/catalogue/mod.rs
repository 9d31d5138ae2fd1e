//! What is on offer: languages, prices, figures, and the pages by which agents find them. They read and touch nothing.

pub(crate) mod offers;
mod pages;

pub(crate) use pages::{health_services, languages, llms, pricing, served, stats, x402};
