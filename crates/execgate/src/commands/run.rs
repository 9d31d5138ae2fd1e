//! `execgate run`: code in the jail, without a server.
//!
//! Exit codes (CONTRACTS 3): 0 a value, 1 an exception, n the code's own, 124 timeout, 137 a limit or a kill,
//! 2 a wrong use of the command line or a fault of ours.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_sandbox::{Request, Run as Ran, Stdin, Stream, Verdict};
use rustix::process::geteuid;
use serde_json::json;

use super::cli::Jail;
use crate::config::{Environment, Flags, Settings};
use crate::privileges::Account;
use crate::{terminal, wire};

/// The exit code of a run that met its deadline, as timeout(1) has it.
const EXIT_TIMEOUT: u8 = 124;
/// The exit code of a run that a limit or a signal ended.
const EXIT_KILLED: u8 = 137;

/// Code in the jail.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The language [default: told by the file's ending, else python]
    #[arg(short, long, value_name = "LANG")]
    lang: Option<String>,
    /// Run this code instead of a file
    #[arg(short = 'e', long = "eval", value_name = "CODE")]
    code: Option<String>,
    /// The deadline in seconds
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    timeout: f64,
    /// Memory in MiB, files in memory included
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..))]
    memory: u64,
    /// Print the result as JSON, when it is there
    #[arg(long)]
    json: bool,
    /// The file to run, or - for standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Arguments for the code
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
    #[command(flatten)]
    jail: Jail,
}

impl Run {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if !self.timeout.is_finite() || self.timeout <= 0.0 {
            bail!("--timeout must be a positive number of seconds");
        }
        let flags = Flags {
            tier: self.jail.tier,
            image: self.jail.image.clone(),
            image_cache: self.jail.image_cache.clone(),
            slots: Some(1),
            ..Flags::default()
        };
        let root = geteuid().is_root();
        // Only the sandbox's settings matter here; whatever the environment says of a gateway does not.
        let environment = Environment::read().without_gateway();
        let settings = Settings::resolve(&flags, &environment, root)?;
        let request = self.request()?;
        let account = Account::choose(None)?;
        let image = wire::image(&settings)?;
        let helper = execgate_sandbox::spawn_helper().context("the sandbox's helper could not be started")?;
        if let Some(account) = account {
            account.become_now()?;
        }
        let sandbox = wire::sandbox(helper, &image, wire::tier(settings.tier, true), settings.slots)
            .context("code cannot be run here; `execgate doctor` says why")?;
        let language = request.language.clone();
        let ran = sandbox.run(request).context("the run did not start")?;
        self.tell(&language, &ran)
    }

    fn request(&self) -> anyhow::Result<Request> {
        let (code, from_stdin) = match (&self.code, &self.file) {
            (Some(_), Some(_)) => bail!("give either a file or -e CODE"),
            (Some(code), None) => (code.clone().into_bytes(), false),
            (None, Some(path)) if path.as_os_str() != "-" => {
                let code = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
                (code, false)
            }
            (None, _) => {
                let mut code = Vec::new();
                std::io::stdin().read_to_end(&mut code).context("failed to read standard input")?;
                (code, true)
            }
        };
        let mut request = Request::new(self.language()?, code);
        request.args.clone_from(&self.args);
        if !from_stdin {
            let stdin = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)
                .context("failed to pass standard input on")?;
            request.stdin = Stdin::Inherit(stdin);
        }
        request.limits.wall = Duration::try_from_secs_f64(self.timeout).context("--timeout is too long")?;
        request.limits.memory_bytes = self.memory.saturating_mul(1 << 20);
        if !self.json {
            // A person reads along; nothing is kept back but what a terminal could not take either.
            request.limits.output_bytes = 64 << 20;
            request.sink = Some(Box::new(|stream, bytes| terminal::raw(stream == Stream::Stderr, bytes)));
        }
        Ok(request)
    }

    fn language(&self) -> anyhow::Result<String> {
        let named = self.lang.clone().or_else(|| {
            let ending = self.file.as_ref()?.extension()?.to_str()?;
            Some(ending.to_owned())
        });
        let name = match named.as_deref() {
            None | Some("py" | "python" | "python3") => "python",
            Some("sh" | "bash") => "bash",
            Some(other) => bail!("the language `{other}` is not there; the languages are python and bash"),
        };
        Ok(name.to_owned())
    }

    fn tell(&self, language: &str, ran: &Ran) -> anyhow::Result<ExitCode> {
        let error = ran.exception.as_ref();
        if self.json {
            let told = error.map(|e| json!({"name": e.name, "message": e.message, "traceback": e.traceback}));
            terminal::json(&json!({
                "language": language,
                "stdout": String::from_utf8_lossy(&ran.stdout),
                "stderr": String::from_utf8_lossy(&ran.stderr),
                "result": ran.value,
                "error": told,
                "verdict": format!("{:?}", ran.verdict),
                "truncated": ran.truncated,
                "wall_ms": u64::try_from(ran.usage.wall.as_millis()).unwrap_or(u64::MAX),
                "enforced": ran.enforced,
            }))?;
        } else {
            if let Some(value) = ran.value.as_ref().filter(|_| terminal::is_watched()) {
                terminal::line(format_args!("=> {value}"));
            }
            if let Some(error) = error {
                terminal::note(if error.traceback.is_empty() {
                    format!("{}: {}", error.name, error.message)
                } else {
                    error.traceback.trim_end().to_owned()
                });
            }
        }
        Ok(ExitCode::from(self.exit_code(ran.verdict)))
    }

    fn exit_code(&self, verdict: Verdict) -> u8 {
        let say = |text: &str| {
            if !self.json {
                terminal::note(format_args!("execgate: {text}"));
            }
        };
        match verdict {
            Verdict::Value => 0,
            Verdict::Exception => 1,
            Verdict::Exit(code) => u8::try_from(code).unwrap_or(1),
            Verdict::Timeout => {
                say(&format!("the run did not end within {} s", self.timeout));
                EXIT_TIMEOUT
            }
            Verdict::Limit(limit) => {
                say(&format!("a limit ended the run: {limit:?}"));
                EXIT_KILLED
            }
            Verdict::Cancelled => EXIT_KILLED,
        }
    }
}
