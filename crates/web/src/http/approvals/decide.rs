//! `POST /approvals/{id}` `{artifact}`: what an approver has signed, a yes or a no.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::witness::Render;
use serde_json::{Value, json};

use super::show::visible;
use crate::body::Fields;
use crate::house::House;
use crate::http;
use crate::problem::Problem;
use crate::render::OwnWords;

/// Takes a statement. Whoever may see what waits may hand one in: the signature is what counts.
pub(crate) async fn decide(
    State(house): State<Arc<House>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Body,
) -> Response {
    match take(&house, &headers, &id, body).await {
        Ok(body) => http::json(StatusCode::OK, &body),
        Err(problem) => problem.into_response(),
    }
}

async fn take(house: &House, headers: &HeaderMap, id: &str, body: Body) -> Result<Value, Problem> {
    let run = visible(house, headers, id).await?;
    let (fields, _place) = house.bodies.json_object(headers, body).await?;
    let mut fields = Fields::new(fields);
    let artifact = fields.artifact_named("artifact")?;
    fields.finish()?;
    let artifact = artifact.ok_or_else(|| Problem::bad_field("/artifact", "`artifact` is missing"))?;
    let words: Arc<dyn Render> = Arc::new(OwnWords);
    let decided = house.parts.corridor.decide(run, &artifact, &words).await?;
    Ok(json!({
        "id": decided.run,
        "approver": decided.approver,
        "decision": decided.word.as_str(),
        "status": if decided.waits { "taken" } else { "denied" },
    }))
}
