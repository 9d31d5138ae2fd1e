//! `execgate image build|show|list|prune`: the guest's root file system.

mod build;
mod command;
mod list;
mod prune;
mod show;
mod words;

pub(crate) use command::ImageCommand;
