//! `file_write`: a text into a file of the caller's own workspace (CONTRACTS 4). Blocked until an approval unlocks it.
//!
//! No path of the caller's is followed out of the workspace: [`workspace`](crate::workspace) is the boundary.

use std::sync::{Arc, LazyLock};

use execgate_model::{BoxFuture, Digest, Effect, Product, Verdict};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::arguments::Arguments;
use crate::compute::{Ended, Raised, WALL_DEFAULT};
use crate::names::Blocked;
use crate::pure::Computed;
use crate::workspace::{WorkspaceError, WorkspacePath, Workspaces, Written};
use crate::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

/// The longest file, in bytes: no longer text comes in with a request.
const FILE_BYTES_MAX: usize = 8 << 20;

/// Files that are written at the same time: each holds a thread, and a lock.
const PLACES: usize = 8;

static WRITING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(PLACES)));

/// Writes files.
pub struct FileWrite {
    blocked: Blocked,
    workspaces: Workspaces,
}

impl FileWrite {
    /// The tool over these workspaces.
    #[must_use]
    pub fn new(workspaces: Workspaces) -> Option<Self> {
        Blocked::find("file_write", execgate_model::Namespace::Tools)
            .map(|blocked| Self { blocked, workspaces })
    }
}

impl Tool for FileWrite {
    fn name(&self) -> &str {
        self.blocked.name
    }

    fn describe(&self) -> Description {
        Description {
            summary:
                "Writes a text into a file of the caller's own workspace, once somebody has approved it."
                    .into(),
            schema: self.blocked.schema(),
        }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let example = r#"{"path": "notes/today.txt", "content": "text"}"#;
        let arguments = Arguments::of(call.payload, &["path", "content"], example)?;
        let path = arguments.text("path")?;
        let path = WorkspacePath::parse(path).map_err(|bad| arguments.bad("path", &bad.to_string()))?;
        let content = arguments.short_text("content", FILE_BYTES_MAX)?;
        if call.effect == Effect::DryRun {
            let sha256 = Digest::from_bytes(Sha256::digest(content.as_bytes()).into());
            let would = json!({"path": path.as_str(), "bytes": content.len(), "sha256": sha256.to_hex(), "simulated": true});
            return Ok(Box::new(Computed(would)));
        }
        let workspaces = self.workspaces.clone();
        Ok(Box::new(PreparedWrite {
            workspaces,
            path,
            content: content.to_owned(),
            owner: None,
            place: None,
        }))
    }
}

/// A checked file.
struct PreparedWrite {
    workspaces: Workspaces,
    path: WorkspacePath,
    content: String,
    owner: Option<Digest>,
    place: Option<OwnedSemaphorePermit>,
}

fn nobody() -> NotStarted {
    NotStarted::Unavailable("a workspace belongs to a caller who is known: by a grant, a token, a wallet, or as this machine's own".to_owned())
}

impl Prepared for PreparedWrite {
    fn belongs_to(&mut self, owner: Option<Digest>) -> Result<(), NotStarted> {
        self.owner = Some(owner.ok_or_else(nobody)?);
        Ok(())
    }

    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.place = Some(Arc::clone(&WRITING).try_acquire_owned().map_err(|_full| NotStarted::Full)?);
        Ok(())
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let Self { workspaces, path, content, owner, place } = *self;
            let owner = owner.ok_or_else(nobody)?;
            let run = context.run;
            let written = spawn_blocking(move || {
                let written = workspaces.write(owner, &path, content.as_bytes());
                drop((place, context.place));
                (path, content.len(), written)
            });
            let (path, bytes, written) = written.await.map_err(|panic| RunFault::Lost(panic.to_string()))?;
            match written {
                Ok(written) => Ok(product(&path, bytes, &written)),
                Err(error) => {
                    ended(error).inspect_err(|fault| tracing::error!(%run, %fault, "a file was not written"))
                }
            }
        })
    }
}

fn product(path: &WorkspacePath, bytes: usize, written: &Written) -> Product {
    let sha256 = written.sha256.to_hex();
    Product {
        verdict: Verdict::Value,
        result: json!({"path": path.as_str(), "bytes": bytes, "sha256": sha256, "replaced": written.replaced}),
        error: None,
        enforced: json!({"workspace": {"bytes": bytes, "sha256": sha256, "quota_bytes": Workspaces::quota_bytes()}}),
    }
}

/// What could not be written has changed nothing, but where it was to be put in its place.
fn ended(error: WorkspaceError) -> Result<Product, RunFault> {
    let name = match &error {
        WorkspaceError::Full { .. } => "QuotaExceeded",
        WorkspaceError::IsFolder(_) => "IsAFolder",
        WorkspaceError::NoFolder(_) => "NotAFolder",
        WorkspaceError::Failed { source, .. } => {
            return Err(NotStarted::Fault(format!("{error}: {source}")).into());
        }
        WorkspaceError::Lost(source) => return Err(RunFault::Lost(format!("{error}: {source}"))),
    };
    Ok(Ended::Raised(Raised::new(name, error.to_string())).product(WALL_DEFAULT))
}

#[cfg(test)]
mod tests {
    use execgate_model::{BodyPlace, Digest, Effect, RunId, RunOptions, Verdict};
    use serde_json::{Value, json};

    use super::FileWrite;
    use crate::workspace::{WorkspacePath, Workspaces};
    use crate::{BadCall, Call, Cancel, NotStarted, Prepared, RunContext, Tool};

    const OWNER: Digest = Digest::from_bytes([7; 32]);

    fn prepare(tool: &FileWrite, payload: &Value, effect: Effect) -> Result<Box<dyn Prepared>, BadCall> {
        tool.prepare(&Call { payload, options: &RunOptions::default(), effect })
    }

    async fn run(prepared: Box<dyn Prepared>) -> execgate_model::Product {
        let run = RunId::from_entropy([0; 16]);
        let context =
            RunContext { run, cancel: Cancel::default(), watcher: None, place: BodyPlace::default() };
        prepared.run(context).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_is_written_for_its_owner_and_its_digest_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::at(folder.path().join("workspaces"));
        let tool = FileWrite::new(workspaces.clone()).unwrap();
        let payload = json!({"path": "a/b.txt", "content": "abc"});
        let simulated = run(prepare(&tool, &payload, Effect::DryRun).unwrap()).await;
        assert_eq!(simulated.result["simulated"], true);
        assert!(!folder.path().join("workspaces").exists(), "a simulation touches nothing");

        let mut prepared = prepare(&tool, &payload, Effect::Live).unwrap();
        assert!(matches!(prepared.belongs_to(None), Err(NotStarted::Unavailable(_))));
        prepared.belongs_to(Some(OWNER)).unwrap();
        prepared.reserve().unwrap();
        let product = run(prepared).await;
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let told = json!({"path": "a/b.txt", "bytes": 3, "sha256": sha256, "replaced": false});
        assert_eq!((product.verdict, product.result), (Verdict::Value, told));
        assert_eq!(product.enforced["workspace"]["sha256"], sha256);
        let path = WorkspacePath::parse("a/b.txt").unwrap();
        assert_eq!(workspaces.read(OWNER, &path).unwrap().as_deref(), Some(&b"abc"[..]));

        let mut onto = prepare(&tool, &json!({"path": "a", "content": ""}), Effect::Live).unwrap();
        onto.belongs_to(Some(OWNER)).unwrap();
        let refused = run(onto).await;
        assert_eq!(refused.verdict, Verdict::Exception);
        assert_eq!(refused.result["error"]["name"], "IsAFolder");
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused_with_its_rule() {
        let tool = FileWrite::new(Workspaces::at("/nowhere".into())).unwrap();
        for path in ["../a", "/etc/passwd", "a/../../b", ""] {
            let bad = prepare(&tool, &json!({"path": path, "content": ""}), Effect::Live).err().unwrap();
            assert_eq!(bad.pointer, "/path", "{path}");
        }
        let bad = prepare(&tool, &json!({"path": "a"}), Effect::Live).err().unwrap();
        assert_eq!(bad.pointer, "/content");
    }
}
