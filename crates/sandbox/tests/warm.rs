//! What `all.rs` shows of a process for each run, with interpreters that wait in finished jails instead; and what is
//! true of those alone.

/// How many interpreters of a language wait for runs.
#[cfg(test)]
const RESIDENTS: usize = 2;

#[cfg(test)]
mod suite {
    mod attack;
    mod census;
    mod checkpoints;
    mod egress;
    mod escape;
    mod files;
    mod hostile_sessions;
    mod image_checks;
    mod internet;
    mod isolation;
    mod javascript;
    mod limits;
    mod network;
    mod node_checkpoints;
    mod node_fork;
    mod outcomes;
    mod python;
    mod r;
    mod r_forks;
    mod recovery;
    mod residents;
    mod rich;
    mod rotation;
    mod sessions;
    mod sharing;
    mod tongues;
    mod world;
}
