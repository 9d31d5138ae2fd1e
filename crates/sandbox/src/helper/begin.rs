//! Everything the helper does once: identity, cgroups, its own namespaces, the filter, the first stem; and which
//! tier that makes. A layer that is absent is a refusal, unless a weaker tier was asked for by name.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::CString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use execgate_forkpoint::jail::{PROXY_PORT, Program, Start, StepError, TCP_SINCE, place};
use execgate_forkpoint::stem::{Networked, Seed, SlotIds};
use execgate_forkpoint::sys::{self, clone_flags};
use execgate_forkpoint::wire::{program_memfd, text_memfd};
use rustix::mount::{MountPropagationFlags, mount_change};

use super::bounds;
use super::broker::Broker;
use super::house::House;
use super::ids::{self, IdMap, Wanted};
use super::pool::{Pool, Source};
use super::stem_link::StemLink;
use super::warming;
use crate::cgroup::Cgroups;
use crate::config::{Config, Language, Tier, TierChoice, VerdictBy, Warm};
use crate::egress::networks;
use crate::enforced::{Enforced, Guarded, InterpreterStart};
use crate::seccomp::{Filter, Memory, Sockets, guest_filter};

/// The fork-point library, as the build script has left it.
const LIBRARY: &[u8] = include_bytes!(env!("FORKPOINT_LIBRARY"));

/// What the inits of an interpreter's jails become, as the build script has left it.
const REAPER: &[u8] = include_bytes!(env!("FORKPOINT_REAPER"));

/// What every guest's environment holds.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/home/user"),
    ("LANG", "C.UTF-8"),
    ("TMPDIR", "/tmp"),
];

/// Slots beyond the configured ones, so that a run need not wait for an earlier one's jail to be torn down.
fn spare(slots: usize) -> usize {
    (slots / 4).max(2)
}

/// Prepares everything, or says in one sentence why this host or this configuration cannot.
pub(super) fn begin(config: Config) -> Result<(House, Guarded), String> {
    let warm: usize = config.languages.iter().map(|language| language.warm.len()).sum();
    let residents = config.residents.saturating_mul(warm);
    let total = config.slots.saturating_add(spare(config.slots)).saturating_add(residents);
    let wanted = match config.tier {
        TierChoice::Exactly(Tier::JailSingleUid) => Wanted::Single,
        TierChoice::Exactly(Tier::Jail | Tier::JailNoCgroup) | TierChoice::Strongest => Wanted::Best,
    };
    let cgroups = match config.tier {
        TierChoice::Exactly(Tier::JailNoCgroup) => Err("not asked for".to_owned()),
        TierChoice::Exactly(Tier::Jail | Tier::JailSingleUid) | TierChoice::Strongest => Cgroups::discover(),
    };
    let map = ids::settle(wanted, config.id_block)
        .map_err(|error| format!("no user namespace can be made: {error}"))?;
    if !map.has_room_for(total) {
        return Err(format!("{} user ids are too few for {total} slots", map.count));
    }
    bounds::raise_descriptors(total)?;
    let tier = tier(config.tier, &map, cgroups.as_ref().err().map(String::as_str))?;
    let cidrs = config.egress.iter().flat_map(|means| [&means.private_cidrs, &means.denied_cidrs]);
    cidrs
        .map(|cidrs| networks(cidrs))
        .find_map(Result::err)
        .map_or(Ok(()), |error| Err(error.to_string()))?;
    let broker = config.egress.as_ref().map(|_| Broker::make(&map)).transpose();
    let broker = broker.map_err(|error| format!("no proxy for egress can be made: {error}"))?;
    own_namespaces()?;
    let landlock_abi = sys::landlock_abi();
    if landlock_abi == 0 {
        return Err("Landlock is not enabled in this kernel (boot with lsm=landlock,...)".to_owned());
    }
    let memory = if cgroups.is_ok() { Memory::Counted } else { Memory::Seen };
    let filter = guest_filter(memory, Sockets::Unix);
    let networked = guest_filter(memory, Sockets::Network);
    // Every stem is cloned from here, and reads it where it is.
    let seed: &'static Seed = Box::leak(Box::new(seed(&config, &filter, &networked, landlock_abi, &map)?));
    let pools = pools(&config, seed)?;
    let is_loaded = !pools.is_empty() || config.languages.iter().any(|language| language.session.is_some());
    let library = is_loaded.then(|| text_memfd("forkpoint", LIBRARY)).transpose();
    let library = library.map_err(|error| error.to_string())?;
    let stem =
        StemLink::make(seed, library.as_ref(), &config.image.path, &map).map_err(|error| explain(&error))?;
    let cgroups = cgroups.unwrap_or(Cgroups::None);
    if !matches!(cgroups, Cgroups::None) {
        warming::read_interpreters(&config);
    }
    let enforced = enforced(&config, tier, &map, &cgroups, &filter, landlock_abi);
    let enforced = Guarded { enforced, networked: networked.summary() };
    let warm = (library, pools, sessions(&config)?);
    Ok((House::new(config, seed, map, cgroups, (stem, broker), warm, total), enforced))
}

fn explain(error: &StepError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Which tier this is, or why it is not the one that was asked for.
fn tier(choice: TierChoice, map: &IdMap, no_cgroups: Option<&str>) -> Result<Tier, String> {
    let reached = match (map.ids, no_cgroups) {
        (SlotIds::Own, None) => Tier::Jail,
        (SlotIds::Own, Some(_)) => Tier::JailNoCgroup,
        (SlotIds::Shared, _) => Tier::JailSingleUid,
    };
    match choice {
        TierChoice::Strongest => Ok(reached),
        TierChoice::Exactly(asked) if asked == reached => Ok(reached),
        TierChoice::Exactly(asked) => {
            let ids = match map.ids {
                SlotIds::Own => "",
                SlotIds::Shared => {
                    "; only one user id can be mapped (be root, or have newuidmap and subordinate ids)"
                }
            };
            let cgroups = no_cgroups.map(|why| format!("; {why}")).unwrap_or_default();
            Err(format!("the tier `{asked}` was asked for and this host gives `{reached}`{ids}{cgroups}"))
        }
    }
}

/// No network, and mounts that nobody else sees.
fn own_namespaces() -> Result<(), String> {
    let flags = clone_flags::NEWNS | clone_flags::NEWNET | clone_flags::NEWIPC;
    sys::unshare(flags)
        .map_err(|error| format!("no mount, network and ipc namespace can be made: {error}"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(c"/", private).map_err(|error| format!("mounts cannot be made private: {error}"))
}

fn seed(
    config: &Config,
    filter: &Filter,
    networked: &Filter,
    landlock_abi: u32,
    map: &IdMap,
) -> Result<Seed, String> {
    let waiting = waiting(config).map(|(language, argv)| {
        let (argv, environment) = start(language, argv, preloaded(language))?;
        Ok(Program { start: Start::Waiting { argv, environment }, inherited: inherited(language.verdict) })
    });
    let sessions = config.languages.iter().filter_map(|language| {
        let argv = &language.session.as_ref()?.argv;
        Some(start(language, argv, preloaded(language)).map(|(argv, environment)| Program {
            start: Start::Waiting { argv, environment },
            inherited: inherited(language.verdict),
        }))
    });
    let programs = config.languages.iter().map(program).chain(waiting).chain(sessions);
    let programs = programs.collect::<Result<_, String>>()?;
    let (filter, ids) = (filter.program.clone(), map.ids);
    let networked = Networked { filter: networked.program.clone(), proxied: proxied()? };
    Ok(Seed { programs, filter, landlock_abi, stem_id: map.stem_id(), ids, networked: Some(networked) })
}

/// Where programs look for a proxy. Both spellings are in use; Node looks from version 24 on, and only if it is told to.
fn proxied() -> Result<Vec<CString>, String> {
    let proxy = format!("http://{}:{PROXY_PORT}", Ipv4Addr::LOCALHOST);
    let named = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
    let own = ["NO_PROXY", "no_proxy"].map(|name| format!("{name}=localhost,127.0.0.1,::1"));
    let named = named.into_iter().map(|name| format!("{name}={proxy}"));
    let all = named.chain(own).chain(["NODE_USE_ENV_PROXY=1".to_owned()]);
    all.map(|line| CString::new(line).map_err(|error| error.to_string())).collect()
}

fn program(language: &Language) -> Result<Program, String> {
    let (argv, environment) = start(language, &language.argv, &[])?;
    Ok(Program { start: Start::Exec { argv, environment }, inherited: inherited(language.verdict) })
}

/// How many of a run's descriptors reach its interpreter.
fn inherited(verdict: VerdictBy) -> u32 {
    let frames = place::FRAMES.cast_unsigned();
    match verdict {
        VerdictBy::Frames => frames + 1,
        VerdictBy::ExitStatus => frames,
    }
}

/// How one of a language that preloads the fork-point library is told where it is.
const PRELOADED: &[(&str, &str)] = &[("LD_PRELOAD", "/proc/self/fd/4")];

/// What an interpreter has more in its environment that has the library.
fn preloaded(language: &Language) -> &'static [(&'static str, &'static str)] {
    if language.preloads { PRELOADED } else { &[] }
}

/// What an interpreter is started with.
fn start(
    language: &Language,
    argv: &[String],
    also: &[(&str, &str)],
) -> Result<(Vec<CString>, Vec<CString>), String> {
    let name = &language.name;
    let text = |text: String| CString::new(text).map_err(|_| format!("the language `{name}` holds a NUL"));
    let own = language.env.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let all = ENVIRONMENT.into_iter().chain(own).chain(also.iter().copied());
    let all = all.map(|(key, value)| text(format!("{key}={value}")));
    Ok((argv.iter().cloned().map(text).collect::<Result<_, _>>()?, all.collect::<Result<_, _>>()?))
}

/// Every way in which an interpreter is to be there before its run: the number of its language, and its own there.
fn warm(config: &Config) -> impl Iterator<Item = (&Language, u16, u16, &Warm)> {
    let languages = (0..).zip(&config.languages).filter(|_| config.residents > 0);
    languages.flat_map(|(number, language)| {
        (0..).zip(&language.warm).map(move |(own, warm)| (language, number, own, warm))
    })
}

/// The interpreters that wait in their jails; the native stem has them after those of the languages.
fn waiting(config: &Config) -> impl Iterator<Item = (&Language, &[String])> {
    warm(config).filter_map(|(language, _, _, warm)| match warm {
        Warm::Wait(argv) | Warm::ForkOrWait { wait: argv, .. } => Some((language, argv.as_slice())),
        Warm::Fork(_) => None,
    })
}

/// Which programs of the native stem serve sessions, by the numbers of their languages. They come last.
fn sessions(config: &Config) -> Result<BTreeMap<u16, u16>, String> {
    let first = config.languages.len() + waiting(config).count();
    let languages = (0..).zip(&config.languages).filter(|(_, language)| language.session.is_some());
    let numbered = (first..).zip(languages).map(|(program, (language, _))| {
        Ok((language, u16::try_from(program).map_err(|error| error.to_string())?))
    });
    numbered.collect()
}

/// What the inits of forks become; `None` where that cannot be, and every interpreter is started for its run therefore.
fn reaper() -> Option<OwnedFd> {
    // What nobody may read could be looked into all the same then.
    if fs::read_to_string("/proc/sys/fs/suid_dumpable").is_ok_and(|value| value.trim() == "1") {
        tracing::warn!("no interpreter is forked: fs.suid_dumpable is 1");
        return None;
    }
    let made = program_memfd("init", REAPER);
    made.inspect_err(|error| tracing::warn!(%error, "no interpreter is forked (is vm.memfd_noexec 2?)")).ok()
}

/// A pool for each way in which interpreters are to be there before their runs.
fn pools(config: &Config, seed: &Seed) -> Result<Vec<Pool>, String> {
    let mut pools = Vec::new();
    let reaper = reaper();
    let mut next = u16::try_from(config.languages.len()).map_err(|error| error.to_string())?;
    for (language, number, own, warm) in warm(config) {
        let started = match warm {
            Warm::Fork(_) => None,
            Warm::Wait(_) | Warm::ForkOrWait { .. } => Some(next),
        };
        next += u16::from(started.is_some());
        let source = match (warm, started, &reaper) {
            (Warm::Fork(argv) | Warm::ForkOrWait { fork: argv, .. }, otherwise, Some(reaper)) => {
                let (argv, environment) = start(language, argv, preloaded(language))?;
                let seed = seed.for_interpreter(inherited(language.verdict));
                let seed = text_memfd("seed", &seed).map_err(|error| error.to_string())?;
                let reaper = reaper.try_clone().map_err(|error| error.to_string())?;
                Source::Fork { argv, environment, seed, reaper, otherwise }
            }
            (_, Some(number), _) => Source::Start(number),
            (_, None, _) => continue,
        };
        pools.push(Pool::new(number, own, source, config.residents));
    }
    Ok(pools)
}

fn enforced(
    config: &Config,
    tier: Tier,
    map: &IdMap,
    cgroups: &Cgroups,
    filter: &Filter,
    landlock_abi: u32,
) -> Enforced {
    let mut namespaces = vec!["pid", "mount", "ipc", "uts"];
    if !matches!(cgroups, Cgroups::None) {
        namespaces.push("cgroup");
    }
    // The slot's own, not the run's: nobody else is in it at the same time.
    namespaces.push("network");
    Enforced {
        v: 1,
        tier,
        uid_map: map.line(),
        own_uid_per_slot: map.ids == SlotIds::Own,
        cgroup: cgroups.name().to_owned(),
        controllers: cgroups.controllers(),
        seccomp_sha256: filter.digest.clone(),
        seccomp_rules: filter.rules,
        landlock_abi,
        landlock_tcp: landlock_abi >= TCP_SINCE,
        namespaces: namespaces.into_iter().map(str::to_owned).collect(),
        network: "none".to_owned(),
        image: config.image.digest.clone(),
        interpreter: InterpreterStart::Executed,
    }
}
