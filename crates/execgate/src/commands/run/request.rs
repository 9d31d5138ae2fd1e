//! From the command line to a request.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use execgate_sandbox::{Collect, Keep, PlacedFile, Request, Stdin, Stream};
use execgate_tool::code;

use super::Run;
use crate::terminal;

/// The files that go in, together, in bytes: what fits beside a program in its memory.
const FILES_IN_MAX: u64 = 128 << 20;

/// The files that come back, together and one by one, in bytes.
const FILES_OUT_MAX: u64 = 128 << 20;

/// How many come back.
const FILES_OUT_COUNT: u32 = 1000;

impl Run {
    pub(super) fn request(&self) -> anyhow::Result<Request> {
        let (code, from_stdin) = self.source()?;
        let (language, words) = self.language()?;
        let mut request = Request::new(language, code);
        request.words = words;
        request.args.clone_from(&self.args);
        request.rich = self.rich;
        if !from_stdin {
            let stdin = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)
                .context("failed to pass standard input on")?;
            request.stdin = Stdin::Inherit(stdin);
        }
        request.limits.wall = Duration::try_from_secs_f64(self.timeout).context("--timeout is too long")?;
        request.limits.memory_bytes = self.memory.saturating_mul(1 << 20);
        request.files = self.files()?;
        request.collect = self.collect()?;
        if !self.json {
            // A person reads along; nothing is kept back but what a terminal could not take either.
            request.limits.output_bytes = 64 << 20;
            request.sink = Some(Box::new(|stream, bytes| terminal::raw(stream == Stream::Stderr, bytes)));
            request.keep = Keep::Nothing;
        }
        Ok(request)
    }

    /// The code, and whether it came by standard input.
    fn source(&self) -> anyhow::Result<(Vec<u8>, bool)> {
        match (&self.code, &self.file) {
            (Some(_), Some(_)) => bail!("give either a file or -e CODE"),
            (Some(code), None) => Ok((code.clone().into_bytes(), false)),
            (None, Some(path)) if path.as_os_str() != "-" => {
                let code = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
                Ok((code, false))
            }
            (None, _) => {
                let mut code = Vec::new();
                std::io::stdin().read_to_end(&mut code).context("failed to read standard input")?;
                Ok((code, true))
            }
        }
    }

    fn language(&self) -> anyhow::Result<(String, Vec<String>)> {
        let named = match &self.lang {
            Some(name) => Some(name.as_str()),
            None => self.file.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str()),
        };
        let Some(name) = named else { return Ok(("python".to_owned(), Vec::new())) };
        let by_ending = || {
            let ending = name.to_lowercase();
            code::all()
                .iter()
                .find(|known| known.ends_with(&ending))
                .map(|l| (l.name().to_owned(), Vec::new()))
        };
        code::named(name).or_else(by_ending).with_context(|| {
            let known: Vec<_> = code::all().iter().map(|language| language.name().to_owned()).collect();
            format!("the language `{name}` is not there; the languages are {}", known.join(", "))
        })
    }

    fn files(&self) -> anyhow::Result<Vec<PlacedFile>> {
        let mut total = 0;
        let mut files = Vec::new();
        for with in &self.with {
            let (local, inside) = match with.split_once('=') {
                Some((local, inside)) => (local, inside.to_owned()),
                None => {
                    let name = Path::new(with).file_name().and_then(|name| name.to_str());
                    (with.as_str(), name.with_context(|| format!("--with {with} names no file"))?.to_owned())
                }
            };
            let content = fs::read(local).with_context(|| format!("failed to read {local}"))?;
            total += u64::try_from(content.len()).unwrap_or(u64::MAX);
            if total > FILES_IN_MAX {
                bail!("the files of --with are more than {FILES_IN_MAX} bytes together");
            }
            files
                .push(PlacedFile::new(&inside, content).with_context(|| format!("--with {with} cannot be"))?);
        }
        Ok(files)
    }

    fn collect(&self) -> anyhow::Result<Option<Collect>> {
        if let Some(wrong) = self.collect.iter().find(|text| !Collect::is_pattern(text)) {
            bail!("--collect {wrong} is no pattern of file names");
        }
        let collect = Collect {
            patterns: self.collect.clone(),
            file_bytes_max: FILES_OUT_MAX,
            total_bytes_max: FILES_OUT_MAX,
            files_max: FILES_OUT_COUNT,
        };
        Ok((!self.collect.is_empty()).then_some(collect))
    }
}
