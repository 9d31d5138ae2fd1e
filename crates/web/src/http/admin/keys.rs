//! `/keys`: the gateway's own public keys, and what the operator does with them. No secret ever comes through here.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use execgate_model::KeyPurpose;
use execgate_receipt::KeyId;
use serde_json::Value;

use crate::admit::Administrator;
use crate::http::admin::{answer, asked};
use crate::http::keys::{ring_of, tell};
use crate::office::Office;
use crate::problem::Problem;

/// `GET /keys`.
pub(crate) async fn list(State(office): State<Arc<Office>>) -> Response {
    answer(async { tell(StatusCode::OK, &ring_of(&*office.parts.store).await?) }).await
}

/// `POST /keys`: makes a key that signs from now on; the ring, with the new key as its last.
pub(crate) async fn rotate(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        let purpose = asked(&office, &headers, body, |fields| fields.text("purpose")).await?;
        let unknown = || Problem::bad_field("/purpose", "`purpose` is `receipt` or `log`".to_owned());
        let purpose = KeyPurpose::from_word(&purpose).ok_or_else(unknown)?;
        office.administer.keyring()?.rotate(&administrator.by(), purpose).await?;
        tell(StatusCode::CREATED, &ring_of(&*office.parts.store).await?)
    })
    .await
}

/// `POST /keys/{id}/retire`: the ring as it is then.
pub(crate) async fn retire(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        asked(&office, &headers, body, |_| Ok(())).await?;
        let id: KeyId = serde_json::from_value(Value::String(id))
            .map_err(|_| Problem::not_found("a key id has 16 lowercase hexadecimal digits"))?;
        office.administer.keyring()?.retire(&administrator.by(), id).await?;
        tell(StatusCode::OK, &ring_of(&*office.parts.store).await?)
    })
    .await
}
