//! Every promise of the port, kept by SQLite.

use super::folder::Folder;
use crate::contract::every_promise;

every_promise!(Folder::new());
