//! `GET /.well-known/execgate-keys.json`: every public key that this gateway has ever signed with, and how far each
//! counts. Whoever verifies a receipt years from now needs the old ones too.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use execgate_flow::administer::{AdministerError, log_names, ring};
use execgate_receipt::KeyRing;
use execgate_store::Store;

use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// Where it stands.
pub(crate) const KEYS: &str = "/.well-known/execgate-keys.json";

/// Tells which keys this gateway signs with, and has signed with.
pub(crate) async fn published(State(house): State<Arc<House>>) -> Response {
    let told = async { tell(StatusCode::OK, &ring_of(&*house.parts.store).await?) };
    told.await.unwrap_or_else(|problem: Problem| problem.into_response())
}

/// The ring of a record.
pub(crate) async fn ring_of(store: &dyn Store) -> Result<KeyRing, Problem> {
    let keys = store.own_keys().await.map_err(AdministerError::from)?;
    Ok(ring(&keys, &log_names(store).await?)?)
}

/// Writes a ring.
pub(crate) fn tell(status: StatusCode, ring: &KeyRing) -> Result<Response, Problem> {
    let text = ring.to_json().map_err(|_| Problem::fault())?;
    let value = serde_json::from_str(&text).map_err(|_| Problem::fault())?;
    Ok(http::json(status, &value))
}
