//! `GET /log/checkpoint`, `/log/tile/…` and `/log/consistency/{older}`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};

use super::{Named, ask_name, write_checkpoint, write_consistency, write_tile};
use crate::house::House;
use crate::problem::Problem;

/// `GET /log/checkpoint`: the newest tree head that is signed.
pub(crate) async fn checkpoint(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Response {
    write_checkpoint(house.parts.log.as_deref(), query.as_deref())
        .await
        .unwrap_or_else(Problem::into_response)
}

/// `GET /log/tile/<L>/<N>[.p/<W>]` and `GET /log/tile/entries/<N>[.p/<W>]`.
pub(crate) async fn tile(State(house): State<Arc<House>>, Path(path): Path<String>) -> Response {
    let told = write_tile(house.parts.log.as_deref(), &path, Named::Newest).await;
    told.unwrap_or_else(Problem::into_response)
}

/// `GET /log/names/{number}/checkpoint`: the same as long as the log has that name.
pub(crate) async fn named_checkpoint(
    State(house): State<Arc<House>>,
    Path(number): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let log = house.parts.log.as_deref();
    let told = async {
        ask_name(log, &number).await?;
        write_checkpoint(log, query.as_deref()).await
    };
    told.await.unwrap_or_else(Problem::into_response)
}

/// `GET /log/names/{number}/tile/…`: the same as long as the log has that name.
pub(crate) async fn named_tile(
    State(house): State<Arc<House>>,
    Path((number, path)): Path<(String, String)>,
) -> Response {
    let log = house.parts.log.as_deref();
    let told = async {
        ask_name(log, &number).await?;
        write_tile(log, &path, Named::This).await
    };
    told.await.unwrap_or_else(Problem::into_response)
}

/// `GET /log/consistency/{older}`: that a log of so many entries is the beginning of the newest signed head.
pub(crate) async fn consistency(State(house): State<Arc<House>>, Path(older): Path<String>) -> Response {
    write_consistency(house.parts.log.as_deref(), &older).await.unwrap_or_else(Problem::into_response)
}
