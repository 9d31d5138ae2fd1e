//! The protocol in front of a desk, for one asker.

use std::collections::BTreeMap;
use std::sync::Arc;

use execgate_model::{BodyPlace, Watcher};
use execgate_tool::Cancel;
use execgate_tool::upstream::{Listing, Reading};
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskMethod, CancelTaskParams,
    CompleteRequestMethod, CompleteRequestParams, CompleteResult, ConstString, ErrorCode,
    GetPromptRequestParams, GetPromptResponse, GetPromptResult, GetTaskMethod, GetTaskParams, GetTaskResult,
    Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, PromptsCapability, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ResourcesCapability, ResultType, ServerCapabilities,
    ServerConfig, SubscriptionFilter, UpdateTaskMethod, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, from_value, to_value};
use tokio::join;
use tokio::sync::Notify;

use super::approval::Way;
use super::asking::{AskLine, Takes, is_held, takes};
use super::calls::OpenCall;
use super::desk::{Asker, Call, Desk};
use super::line::Line;
use super::listening::{Listener, Seen};
use super::{asking, challenge, tasks};
use crate::house::House;

/// For how long a client may keep a list of tools, in milliseconds. The rules of a grant can change at any time; what they
/// deny is denied whatever a client still shows.
const LIST_TTL_MS: u64 = 30_000;

/// A server for one asker: of one request by HTTP, of all of them over a pipe.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) desk: Arc<dyn Desk>,
    pub(super) asker: Asker,
    pub(super) version: &'static str,
    /// Whether another request asks for the end of this one.
    pub(super) cancel: Cancel,
    /// Its place among the calls that can be ended so.
    pub(super) open: Option<Arc<OpenCall>>,
    /// What its body takes up in memory.
    pub(super) place: BodyPlace,
    /// What there was to see when it was asked to tell of changes; over a pipe, when that began.
    pub(super) seen: Option<Seen>,
    /// Whether it is over a pipe.
    pub(super) is_at_a_pipe: bool,
    /// Where questions to its client go; none where there is no such line.
    pub(super) asks: Option<AskLine>,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let itself = Implementation::new("execgate", self.version).with_title("execgate");
        let offered = ServerCapabilities::builder().enable_tools().enable_tool_list_changed();
        let mut offered = offered.enable_tasks().build();
        // Whatever a server tells: rules change, too.
        offered.resources = self.desk.has(Reading::Resource).then(|| {
            let mut resources = ResourcesCapability::default();
            resources.list_changed = Some(true);
            resources
        });
        offered.prompts = self.desk.has(Reading::Prompt).then(|| {
            let mut prompts = PromptsCapability::default();
            prompts.list_changed = Some(true);
            prompts
        });
        if let Some(payment) = self.desk.house().and_then(House::challenge_methods) {
            let experiments = offered.experimental.get_or_insert_default();
            experiments.insert(challenge::CAPABILITY.to_owned(), payment.clone());
        }
        ServerConfig::new(offered).with_server_info(itself).with_instructions(self.desk.instructions())
    }

    fn accepted_subscription_filter(&self, _requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let all = SubscriptionFilter::builder().tools_list_changed().resources_list_changed();
        // The library takes out what is not offered.
        Some(all.prompts_list_changed().build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let _place = match self.desk.house() {
            Some(house) => Some(house.listeners.place(&self.asker.caller).ok_or_else(crowded)?),
            None => None,
        };
        let mut listener = match self.seen {
            Some(seen) if !self.is_at_a_pipe => Listener::begin(self.desk.as_ref(), &self.asker, seen),
            seen => Listener::at_a_pipe(self.desk.as_ref(), &self.asker, seen),
        };
        loop {
            tokio::select! {
                biased;
                () = context.cancelled() => return Ok(()),
                () = self.cancel.cancelled() => return Ok(()),
                changed = listener.changed() => {
                    let Some(changed) = changed else { return Ok(()) };
                    for news in changed {
                        if !news.tell(context.sink()).await {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        on_the_one_page(page.as_ref())?;
        let tools = self.desk.tools(&self.asker).await?;
        let list = ListToolsResult::with_all_items(tools);
        Ok(list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn list_prompts(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        on_the_one_page(page.as_ref())?;
        let list = ListPromptsResult::with_all_items(self.listed(Listing::Prompts, &context).await?);
        Ok(list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        on_the_one_page(page.as_ref())?;
        let list = ListResourcesResult::with_all_items(self.listed(Listing::Resources, &context).await?);
        Ok(list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        on_the_one_page(page.as_ref())?;
        let list =
            ListResourceTemplatesResult::with_all_items(self.listed(Listing::Templates, &context).await?);
        Ok(list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let arguments = Map::from_iter([("uri".to_owned(), request.uri.into())]);
        let mut read: ReadResourceResult = self.read(Reading::Resource, arguments, context).await?;
        // Who speaks an earlier revision is not told so.
        read.result_type = Some(ResultType::COMPLETE);
        Ok(read.into())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let mut arguments = Map::from_iter([("name".to_owned(), request.name.into())]);
        arguments.extend(request.arguments.map(|given| ("arguments".to_owned(), Value::Object(given))));
        let mut read: GetPromptResult = self.read(Reading::Prompt, arguments, context).await?;
        read.result_type = Some(ResultType::COMPLETE);
        Ok(read.into())
    }

    // What is not offered is not there. The library would answer with nothing instead.
    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }

    async fn call_tool(
        &self,
        mut request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Kept until it has ended, however it ends.
        let _open = self.open.clone();
        let line = context.meta.get_progress_token().map(|token| Line::new(context.peer.clone(), token));
        // What a held call waits for, and not an approval.
        let state = request.request_state.take_if(|state| is_held(state));
        let answers = state.as_ref().and_then(|_| request.input_responses.take()).unwrap_or_default();
        let way = Way::of(&mut request, &context);
        let asked = match state {
            Some(state) => Asked::Again(state, answers),
            None => self.asked(&context),
        };
        let call = Call {
            name: request.name.into_owned(),
            arguments: request.arguments.unwrap_or_default(),
            meta: context.meta.0.0,
            line: line.clone(),
            place: self.place.clone(),
            way,
            asks: Watcher::default(),
        };
        let ended = Notify::new();
        let calling = async {
            let called = self.calling(call, asked).await;
            ended.notify_one();
            called
        };
        let telling = async {
            if let Some(line) = &line {
                line.tell_until(ended.notified()).await;
            }
        };
        tokio::select! {
            biased;
            // Dropping the call is what ends it.
            () = context.ct.cancelled() => Err(cancelled()),
            () = self.cancel.cancelled() => Err(cancelled()),
            (called, ()) = async { join!(calling, telling) } => called,
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        tasks::look(self.house::<GetTaskMethod>()?, &self.asker, &request.task_id).await
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tasks::acknowledge(self.house::<UpdateTaskMethod>()?, &self.asker, &request.task_id).await
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tasks::cancel(self.house::<CancelTaskMethod>()?, &self.asker, &request.task_id).await
    }
}

impl Server {
    /// Where tasks are, for a method of theirs.
    fn house<M: ConstString>(&self) -> Result<&House, ErrorData> {
        self.desk.house().ok_or_else(ErrorData::method_not_found::<M>)
    }

    /// How the client of a call can be asked something within it.
    fn asked(&self, context: &RequestContext<RoleServer>) -> Asked {
        if self.desk.asks().is_empty() {
            return Asked::Never;
        }
        let said = || to_value(context.client_capabilities().unwrap_or_default()).unwrap_or_default();
        let is_stateless = context
            .protocol_version()
            .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
        match &self.asks {
            _ if is_stateless => Asked::ByResult(takes(&said())),
            Some(line) => {
                let takes = line.takes.clone().unwrap_or_else(|| takes(&said()));
                Asked::ByLine(takes, line.clone())
            }
            None => Asked::Never,
        }
    }

    /// Calls, so that its client can be asked within the call where it may be.
    async fn calling(&self, mut call: Call, asked: Asked) -> Result<CallToolResponse, ErrorData> {
        match asked {
            Asked::Never => {}
            Asked::Again(state, answers) => {
                return asking::resume(&self.desk, &self.asker, &call, &state, answers).await;
            }
            Asked::ByResult(takes) => return asking::begin(&self.desk, &self.asker, takes, call).await,
            Asked::ByLine(takes, line) => {
                let client = asking::Client::by_line(Arc::clone(&self.desk), self.asker.clone(), takes, line);
                call.asks = Watcher::default().answering(Arc::new(client));
            }
        }
        self.desk.call(&self.asker, call).await
    }

    /// What is listed beside tools. What the protocol has no form for cannot be told.
    async fn listed<T: DeserializeOwned>(
        &self,
        listing: Listing,
        context: &RequestContext<RoleServer>,
    ) -> Result<Vec<T>, ErrorData> {
        let items = tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(cancelled()),
            () = self.cancel.cancelled() => Err(cancelled()),
            items = self.desk.list(&self.asker, listing) => items,
        }?;
        Ok(items.into_iter().filter_map(|item| from_value(item).ok()).collect())
    }

    /// Has a resource or a prompt.
    async fn read<T: DeserializeOwned>(
        &self,
        reading: Reading,
        arguments: Map<String, Value>,
        context: RequestContext<RoleServer>,
    ) -> Result<T, ErrorData> {
        let way = Way::of_reading(&context);
        let (name, meta, place) = (String::new(), context.meta.0.0, self.place.clone());
        let asks = Watcher::default();
        let call = Call { name, arguments, meta, line: None, place, way, asks };
        let read = tokio::select! {
            biased;
            // Dropping it is what ends it.
            () = context.ct.cancelled() => Err(cancelled()),
            () = self.cancel.cancelled() => Err(cancelled()),
            read = self.desk.read(&self.asker, reading, call) => read,
        };
        from_value(read?).map_err(|_| ErrorData::internal_error(UNREADABLE, None))
    }
}

/// How the client of one call can be asked something within it.
enum Asked {
    /// It cannot.
    Never,
    /// By requests on its line.
    ByLine(Takes, AskLine),
    /// By results, after each of which it makes the call again.
    ByResult(Takes),
    /// It was, and this is what it answers.
    Again(String, BTreeMap<String, Value>),
}

/// What is told of an answer that the protocol has no form for.
const UNREADABLE: &str = "the server has answered with what is no such result";

/// What is told where no more may listen.
fn crowded() -> ErrorData {
    ErrorData::internal_error(
        "too many listen for changes already; ask for the list again when you need it",
        None,
    )
}

/// Each list is one page: nobody was given the name of another (MCP 2025-11-25, server/utilities/pagination).
fn on_the_one_page(page: Option<&PaginatedRequestParams>) -> Result<(), ErrorData> {
    let cursor = page.and_then(|page| page.cursor.as_deref()).filter(|cursor| !cursor.is_empty());
    cursor.map_or(Ok(()), |_| Err(ErrorData::invalid_params("no list here has a page of this cursor", None)))
}

/// What a call is told that was cancelled: nobody waits for it any more.
fn cancelled() -> ErrorData {
    ErrorData::new(ErrorCode(CANCELLED), "the call was cancelled", None)
}

/// The code of a call that was cancelled: outside of what the protocol keeps for itself.
const CANCELLED: i32 = 499;

/// What is no tool here.
pub(super) fn unknown_tool(name: &str) -> ErrorData {
    let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
    ErrorData::invalid_params(format!("Unknown tool: {name}"), None)
}

/// A result that only says something.
pub(super) fn result_of(value: serde_json::Value) -> CallToolResult {
    CallToolResult::structured(value)
}
