//! The command line of the soaks. Without a name it says which there are.

use anyhow::Result;
use clap::Subcommand as _;

use crate::soak::{attack, fuzz, kills, leaks, money, vm};

/// `cargo xtask soak`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    soak: Option<Soak>,
}

/// A soak.
#[derive(clap::Subcommand)]
enum Soak {
    /// Feed every parser of outside bytes what coverage leads to, each in its turn
    Fuzz(fuzz::Args),
    /// Boot other kernels and userlands, and run the tests of the sandbox there
    Vm(vm::Args),
    /// Run code ten thousand times, and then many at a time, and count what is left
    Leaks(leaks::Args),
    /// Let stress-ng and trinity loose in the jail, and look at the host
    Attack(attack::Args),
    /// Kill gateways at random moments, a thousand times, and hold what is left against what was heard
    Kills(kills::Args),
    /// Kill gateways and their settler at random moments, and look for every unit on the chain and in the books
    Money(money::Args),
}

/// Runs a soak; `true` if it found nothing.
pub(crate) fn run(args: &Args) -> Result<bool> {
    match &args.soak {
        None => println!("{}", list()),
        Some(Soak::Fuzz(args)) => return fuzz::run(args),
        Some(Soak::Vm(args)) => return vm::run(args),
        Some(Soak::Leaks(args)) => return leaks::run(args),
        Some(Soak::Attack(args)) => return attack::run(args),
        Some(Soak::Kills(args)) => return kills::run(args),
        Some(Soak::Money(args)) => return money::run(args),
    }
    Ok(true)
}

/// A line for each soak.
fn list() -> String {
    let soaks = Soak::augment_subcommands(clap::Command::new("soak"));
    let line = |soak: &clap::Command| {
        let about = soak.get_about().map(ToString::to_string).unwrap_or_default();
        format!("cargo xtask soak {:<8} {about}", soak.get_name())
    };
    soaks.get_subcommands().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_soak_is_listed_with_what_it_does() {
        assert_eq!(
            list(),
            "cargo xtask soak fuzz     Feed every parser of outside bytes what coverage leads to, each in its turn\n\
             cargo xtask soak vm       Boot other kernels and userlands, and run the tests of the sandbox there\n\
             cargo xtask soak leaks    Run code ten thousand times, and then many at a time, and count what is left\n\
             cargo xtask soak attack   Let stress-ng and trinity loose in the jail, and look at the host\n\
             cargo xtask soak kills    Kill gateways at random moments, a thousand times, and hold what is left against what was heard\n\
             cargo xtask soak money    Kill gateways and their settler at random moments, and look for every unit on the chain and in the books"
        );
    }
}
