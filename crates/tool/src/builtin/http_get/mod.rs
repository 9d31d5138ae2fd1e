//! `http_get`: fetches what is anybody's on the internet, and nothing that is not, by the gateway's own way
//! [out](crate::outbound). A redirect starts again at the URL.

mod client;
#[cfg(test)]
mod tests;
mod tool;

pub(super) use tool::HttpGet;
