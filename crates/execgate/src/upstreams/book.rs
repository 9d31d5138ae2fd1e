//! The book of what was accepted of upstream servers: two files for each in `upstreams` of the data directory. One says what
//! was seen last, whole, so that a person can look at it; the other the digests that were accepted.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use execgate_model::Digest;
use execgate_receipt::digest_json;
use execgate_tool::upstream::{Offer, PinBook, PinError, Pins, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The folder of the data directory.
const FOLDER: &str = "upstreams";

/// The longest file that is read, in bytes: 2,048 tools of some KiB each.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The form of the files.
const VERSION: u32 = 1;

/// What was accepted of a server, as it lies on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    version: u32,
    instructions: Option<Digest>,
    tools: BTreeMap<String, Digest>,
}

/// A tool, as it was seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotedTool {
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) class: String,
    pub(crate) severity: String,
    pub(crate) attacks: Vec<String>,
    pub(crate) because: String,
    pub(crate) entry: Value,
}

/// What was seen of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noted {
    pub(crate) version: u32,
    pub(crate) server: String,
    pub(crate) info: Value,
    pub(crate) instructions: Option<String>,
    pub(crate) instructions_digest: Option<Digest>,
    /// Entries that nobody can call: without a good name or schema, or two of one name.
    pub(crate) unusable: usize,
    pub(crate) tools: Vec<NotedTool>,
}

impl Noted {
    /// What a server offers.
    pub(crate) fn of(server: &ServerName, offer: &Offer) -> Self {
        let tool = |entry: &execgate_tool::upstream::Entry| NotedTool {
            name: entry.name.clone(),
            digest: entry.digest,
            class: entry.risk.class.as_str().to_owned(),
            severity: entry.risk.severity.as_str().to_owned(),
            attacks: entry.risk.attacks.iter().map(|attack| attack.as_str().to_owned()).collect(),
            because: entry.risk.because.clone(),
            entry: (*entry.raw).clone(),
        };
        Self {
            version: VERSION,
            server: server.to_string(),
            info: offer.hello.info.clone(),
            instructions: offer.hello.instructions.clone(),
            instructions_digest: offer.instructions,
            unusable: offer.unusable,
            tools: offer.entries.iter().map(tool).collect(),
        }
    }
}

/// What was read of a file, and when that was written.
type Read = (Option<SystemTime>, Option<Pins>);

/// The book.
#[derive(Debug)]
pub(crate) struct Book {
    folder: PathBuf,
    /// What is asked for again and again, as long as the file is the same.
    last: Mutex<BTreeMap<ServerName, Read>>,
}

impl Book {
    /// That of a data directory.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER), last: Mutex::default() }
    }

    fn accepted_path(&self, server: &ServerName) -> PathBuf {
        self.folder.join(format!("{server}.accepted.json"))
    }

    pub(super) fn tokens_path(&self, server: &ServerName) -> PathBuf {
        self.folder.join(format!("{server}.tokens.json"))
    }

    fn seen_path(&self, server: &ServerName) -> PathBuf {
        self.folder.join(format!("{server}.seen.json"))
    }

    /// The servers of which something was seen.
    pub(crate) fn servers(&self) -> Result<Vec<ServerName>, PinError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fault("read the folder", &error)),
        };
        let name = |entry: fs::DirEntry| {
            let name = entry.file_name();
            ServerName::new(name.to_str()?.strip_suffix(".seen.json")?).ok()
        };
        let mut names: Vec<_> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// What was seen of a server last.
    pub(crate) fn noted(&self, server: &ServerName) -> Result<Option<Noted>, PinError> {
        self.read(&self.seen_path(server))
    }

    /// Accepts these.
    pub(crate) fn accept(&self, server: &ServerName, pins: &Pins) -> Result<(), PinError> {
        let Pins { instructions, tools } = pins.clone();
        self.write(&self.accepted_path(server), &Accepted { version: VERSION, instructions, tools })
    }

    pub(super) fn read<T: for<'de> Deserialize<'de>>(&self, path: &Path) -> Result<Option<T>, PinError> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(PinError(format!(
                    "a file of upstream servers has more than {FILE_BYTES_MAX} bytes"
                )));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault("look at a file", &error)),
        }
        let bytes = fs::read(path).map_err(|error| fault("read a file", &error))?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| fault("understand a file", &error))
    }

    /// Puts a file in the place of the one before, whole or not at all.
    pub(super) fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), PinError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| fault("make the folder", &error))?;
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| fault("write a file", &error))?;
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        let written = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&beside, path)?;
            File::open(&self.folder)?.sync_all()
        };
        written().map_err(|error| fault("write a file", &error))
    }
}

fn fault(doing: &str, error: &dyn core::fmt::Display) -> PinError {
    PinError(format!("failed to {doing} of upstream servers: {error}"))
}

impl PinBook for Book {
    fn pins(&self, server: &ServerName) -> Result<Option<Pins>, PinError> {
        let path = self.accepted_path(server);
        let written = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, pins)) = last.get(server)
            && *when == written
            && written.is_some()
        {
            return Ok(pins.clone());
        }
        let accepted: Option<Accepted> = self.read(&path)?;
        let pins = match accepted {
            Some(accepted) if accepted.version != VERSION => {
                return Err(PinError("a file of upstream servers is of another version".to_owned()));
            }
            Some(Accepted { instructions, tools, .. }) => Some(Pins { instructions, tools }),
            None => None,
        };
        last.insert(server.clone(), (written, pins.clone()));
        Ok(pins)
    }

    fn accept_first(&self, server: &ServerName, pins: &Pins) -> Result<(), PinError> {
        self.accept(server, pins)
    }

    fn see(&self, server: &ServerName, offer: &Offer) -> Result<(), PinError> {
        self.write(&self.seen_path(server), &Noted::of(server, offer))
    }
}

/// The digest of what a server says.
pub(crate) fn digester(value: &Value) -> Option<Digest> {
    digest_json(value).ok()
}
