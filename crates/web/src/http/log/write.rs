//! The resources of the log as answers. What never changes may be kept for ever, and only that.

use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use execgate_flow::Refusal;
use execgate_flow::log::Log;
use execgate_receipt::Tile;
use execgate_store::{Answer, StoreError};

use crate::http;
use crate::problem::Problem;
use crate::query::Query;

/// What a checkpoint and what is made for the newest one are (C2SP tlog-tiles, "Checkpoints").
const TEXT: &str = "text/plain; charset=utf-8";

/// What tiles are (C2SP tlog-tiles, "Merkle Tree").
const BYTES: &str = "application/octet-stream";

/// A tile is what it is for ever: a year is the longest that caches heed.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// A checkpoint is old after some milliseconds.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// The newest signed checkpoint, or with `cosigned=true` the newest that a witness has cosigned.
pub(crate) async fn write_checkpoint(log: Option<&Log>, query: Option<&str>) -> Result<Response, Problem> {
    let mut query = Query::new(query);
    let cosigned = query.read("cosigned", |text| text.parse::<bool>().ok(), "true or false")?;
    query.finish()?;
    let log = served(log)?;
    let note = if cosigned == Some(true) {
        let missing = || Problem::not_found("no witness has cosigned this log yet");
        log.cosigned().await.map_err(unreadable)?.ok_or_else(missing)?
    } else {
        log.checkpoint().await.map_err(unreadable)?.ok_or_else(empty)?
    };
    Ok(written(TEXT, note.into_bytes(), ASK_AGAIN))
}

/// Refuses what is asked for under the number of a name that the log does not have any more.
pub(crate) async fn ask_name(log: Option<&Log>, asked: &str) -> Result<(), Problem> {
    let number = number(served(log)?).await?;
    if asked == number.to_string() {
        return Ok(());
    }
    Err(Problem::not_found("the log does not go by that name now; `/log/checkpoint` has its newest one"))
}

/// Which of its names the log has, from 1; 0 before the first.
async fn number(log: &Log) -> Result<u64, Problem> {
    let standing = log.standing().await.map_err(unreadable)?;
    Ok(standing.epoch.map_or(0, |epoch| epoch.number))
}

/// Under which name a tile is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// Under the one that the log has, whichever that is.
    Newest,
    /// Under this one alone.
    This,
}

/// A tile, where the newest signed checkpoint covers all of it. Under a later name of the log it may have been another tile once,
/// of a record that was restored since: then only the place that has the name in it keeps it for ever.
pub(crate) async fn write_tile(log: Option<&Log>, path: &str, named: Named) -> Result<Response, Problem> {
    let log = served(log)?;
    let cache = if named == Named::This || number(log).await? <= 1 { FOR_EVER } else { ASK_AGAIN };
    let missing = || Problem::not_found("the log has no such tile; see C2SP tlog-tiles for their names");
    let tile: Tile = path.parse().map_err(|_| missing())?;
    let bytes = log.tile(&tile).await.map_err(unreadable)?.ok_or_else(missing)?;
    Ok(written(BYTES, bytes, cache))
}

/// The proof from an older size to the newest signed checkpoint.
pub(crate) async fn write_consistency(log: Option<&Log>, older: &str) -> Result<Response, Problem> {
    let log = served(log)?;
    let bad = || Problem::bad_request("bad-size", "the size of an older checkpoint is a decimal number");
    let size: u64 = older.parse().map_err(|_| bad())?;
    let proof = log.consistency(size).await?.ok_or_else(empty)?;
    Ok(written(TEXT, proof.to_string().into_bytes(), ASK_AGAIN))
}

fn served(log: Option<&Log>) -> Result<&Log, Problem> {
    log.ok_or_else(|| Problem::not_found("this gateway serves no log"))
}

fn empty() -> Problem {
    Problem::not_found("the log has no signed checkpoint yet")
}

fn unreadable(error: StoreError) -> Problem {
    Refusal::Store(error).into()
}

fn written(content_type: &str, body: Vec<u8>, cache: HeaderValue) -> Response {
    let mut response = http::write(Answer { status: 200, content_type: content_type.to_owned(), body });
    response.headers_mut().insert(CACHE_CONTROL, cache);
    response
}
