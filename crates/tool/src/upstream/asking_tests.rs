//! What servers ask of the clients that call them: handed on within a call and to its client alone, and what becomes of the
//! rest.

use core::future::pending;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use execgate_model::{BoxFuture, Effect, Product, Respondent, RunOptions, Unanswered, Verdict, Watcher};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::pause;

use super::asking::QUESTIONS_MAX;
use super::tests::{Memory, Script, Scripted, answer, call_in, context, digest, line, name, sane};
use super::{Asking, Asks, FirstContact, Sharing, Upstream, UpstreamParts, Upstreams};
use crate::registry::Toolbox as _;
use crate::{Call, RunContext, RunFault};

/// A client that answers what it is asked, and remembers it.
#[derive(Default)]
struct Answers {
    heard: Mutex<Vec<(String, Value)>>,
    /// Whether it never says anything.
    is_silent: bool,
    came: Notify,
}

impl Respondent for Answers {
    fn takes(&self, method: &str) -> bool {
        method != Asking::Roots.method()
    }

    fn ask<'a>(&'a self, method: &'a str, params: Value) -> BoxFuture<'a, Result<Value, Unanswered>> {
        Box::pin(async move {
            self.heard.lock().unwrap().push((method.to_owned(), params.clone()));
            self.came.notify_one();
            if self.is_silent {
                pending::<()>().await;
            }
            match params.get("refuse") {
                Some(_) => Err(Unanswered { code: -1, message: "User rejected".to_owned() }),
                None => Ok(json!({"said": params["n"]})),
            }
        })
    }
}

fn upstream(script: Arc<Script>, asks: &[Asking], sharing: Sharing) -> Arc<Upstream> {
    Arc::new(Upstream::new(UpstreamParts {
        name: name(),
        connect: Arc::new(Scripted(script)),
        book: Arc::new(Memory::default()),
        digester: digest,
        first: FirstContact::Accept,
        call_within: Duration::from_secs(5),
        sharing,
        asks: asks.iter().copied().collect(),
    }))
}

fn asked_of(client: &Arc<Answers>) -> RunContext {
    let client: Arc<dyn Respondent> = Arc::<Answers>::clone(client);
    RunContext { watcher: Some(Watcher::default().answering(client)), ..context() }
}

fn question(id: &Value, method: &str, params: Value) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

/// What a server has heard: the call that is under way, and the answers to what it asks, each with its name.
type Says = dyn Fn(&Value, &[Value]) -> Vec<Vec<u8>> + Send + Sync;

/// A server that says something more with its call, and with every answer.
fn server(says: impl Fn(&Value, &[Value]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Arc<Script> {
    let says: Box<Says> = Box::new(says);
    let heard = Mutex::new((Value::Null, Vec::new()));
    let plain = sane(|_| None);
    Arc::new(move |message| {
        let mut heard = heard.lock().unwrap();
        match message["method"].as_str() {
            Some("tools/call") => *heard = (message.clone(), Vec::new()),
            Some(_) => return plain(message),
            None => {
                let told = message.get("result").or_else(|| message.pointer("/error/message"));
                heard.1.push(json!([message["id"], told]));
            }
        }
        Some(says(&heard.0, &heard.1))
    })
}

/// A server that asks all of this within its call, and then tells what it was answered.
fn asks_within(questions: Vec<(Value, &'static str, Value)>) -> Arc<Script> {
    server(move |call, answers| match answers.len() {
        0 => questions.iter().map(|(id, method, params)| question(id, method, params.clone())).collect(),
        some if some == questions.len() => vec![answer(call, json!({"content": [], "told": answers}))],
        _ => Vec::new(),
    })
}

async fn call(upstream: &Arc<Upstream>, context: RunContext) -> Result<Product, RunFault> {
    upstream.connect().await.unwrap();
    call_in(upstream, context).await
}

const SAMPLE: &str = "sampling/createMessage";
const ALL: [Asking; 3] = Asking::ALL;

#[tokio::test]
async fn a_question_goes_to_the_client_of_the_call_and_its_answer_to_the_server() {
    let client = Arc::new(Answers::default());
    let questions = vec![(json!("q"), SAMPLE, json!({"n": 1, "_meta": {"progressToken": 1}, "s3cr3t": 1}))];
    let upstream = upstream(asks_within(questions), &ALL, Sharing::Sole);
    let product = call(&upstream, asked_of(&client)).await.unwrap();
    assert_eq!(product.result["told"], json!([["q", {"said": 1}]]));
    // What is between the server and us is left out, and so are secrets of ours.
    let asked = json!({"n": 1, "*": 1});
    assert_eq!(*client.heard.lock().unwrap(), [(SAMPLE.to_owned(), asked.clone())]);
    let expected = json!({"answered": [SAMPLE], "refused": 0});
    let held = &product.enforced["upstream"];
    assert_eq!(held["asked"], expected);
    assert_eq!(held["may_ask"], json!(["sampling", "elicitation", "roots"]));
    assert!(!product.enforced.to_string().contains("said"));
}

#[tokio::test]
async fn what_is_not_allowed_or_not_taken_or_too_much_is_refused() {
    let client = Arc::new(Answers::default());
    let long = "x".repeat(2 << 20);
    let questions = vec![
        (json!(1), "elicitation/create", json!({})),
        (json!(2), "roots/list", json!({})),
        (json!(3), "tasks/list", json!({})),
        (json!(4), SAMPLE, json!([])),
        (json!(5), SAMPLE, json!({"tools": []})),
        (json!(6), SAMPLE, json!({"text": long})),
        (json!(7), SAMPLE, json!({"refuse": 1})),
        (json!(8), "ping", json!({})),
    ];
    let upstream = upstream(asks_within(questions), &[Asking::Sampling, Asking::Roots], Sharing::Sole);
    let product = call(&upstream, asked_of(&client)).await.unwrap();
    let mut told = product.result["told"].as_array().unwrap().clone();
    told.sort_by_key(|one| one[0].as_u64());
    for (at, why) in [
        (0, "allowed it"),
        (1, "has not said that it takes roots"),
        (2, "allowed it"),
        (3, "are an object"),
        (4, "has no tools"),
        (5, "has at most"),
        (6, "User rejected"),
    ] {
        assert!(told[at][1].as_str().is_some_and(|text| text.contains(why)), "{at}: {}", told[at]);
    }
    assert_eq!(told[7], json!([8, {}]));
    assert_eq!(client.heard.lock().unwrap().len(), 1);
    let asked = &product.enforced["upstream"]["asked"];
    assert_eq!((&asked["refused"], asked["answered"].as_array().unwrap().len()), (&json!(7), 0));
}

#[tokio::test]
async fn nothing_is_asked_of_a_client_that_cannot_be_or_of_a_server_that_may_not() {
    for (asks, context) in [(&ALL[..], context()), (&[], asked_of(&Arc::new(Answers::default())))] {
        let upstream = upstream(asks_within(vec![(json!(1), SAMPLE, json!({}))]), asks, Sharing::Sole);
        let product = call(&upstream, context).await.unwrap();
        assert!(product.result["told"][0][1].is_string(), "{}", product.result);
        assert_eq!(product.enforced["upstream"].get("asked"), None);
    }
}

#[tokio::test]
async fn a_flood_of_questions_is_answered_up_to_the_bound_of_a_call() {
    let client = Arc::new(Answers::default());
    let questions: Vec<_> = (0..QUESTIONS_MAX + 20).map(|n| (json!(n), SAMPLE, json!({"n": n}))).collect();
    let product =
        call(&upstream(asks_within(questions), &ALL, Sharing::Sole), asked_of(&client)).await.unwrap();
    let told = product.result["told"].as_array().unwrap().iter();
    let (answered, refused): (Vec<_>, Vec<_>) = told.partition(|one| one[1].is_object());
    assert_eq!((answered.len(), refused.len()), (QUESTIONS_MAX, 20));
    assert_eq!(client.heard.lock().unwrap().len(), QUESTIONS_MAX);
    // Each has the answer to its own question, whatever the order.
    assert!(answered.iter().all(|one| one[1]["said"] == one[0]), "{answered:?}");
}

#[tokio::test]
async fn two_questions_of_one_name_are_one_too_many() {
    let client = Arc::new(Answers { is_silent: true, ..Answers::default() });
    let says = server(|call, answers| match answers {
        [] => vec![question(&json!("q"), SAMPLE, json!({})), question(&json!("q"), SAMPLE, json!({}))],
        [second] => vec![answer(call, json!({"content": [], "told": second}))],
        _ => Vec::new(),
    });
    let product = call(&upstream(says, &ALL, Sharing::Sole), asked_of(&client)).await.unwrap();
    assert!(product.result["told"][1].as_str().unwrap().contains("is under way"), "{}", product.result);
}

#[tokio::test]
async fn outside_a_call_nobody_is_asked() {
    let client = Arc::new(Answers::default());
    let late = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&late);
    let says = server(move |call, answers| {
        heard.lock().unwrap().extend(answers.last().cloned());
        // Asked behind its result: the call is over.
        let after = question(&json!("late"), SAMPLE, json!({}));
        if answers.is_empty() { vec![answer(call, json!({"content": []})), after] } else { Vec::new() }
    });
    let upstream = upstream(says, &ALL, Sharing::Sole);
    assert_eq!(call(&upstream, asked_of(&client)).await.unwrap().verdict, Verdict::Value);
    // A second call is behind what the server has heard of the first.
    assert_eq!(call_in(&upstream, asked_of(&client)).await.unwrap().verdict, Verdict::Value);
    assert!(late.lock().unwrap()[0][1].as_str().unwrap().contains("outside a call"));
    assert_eq!(client.heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn in_a_conversation_of_several_callers_nobody_is_asked_by_a_line_that_does_not_tell_them_apart() {
    let client = Arc::new(Answers::default());
    let upstream = upstream(asks_within(vec![(json!(1), SAMPLE, json!({}))]), &ALL, Sharing::Shared);
    let product = call(&upstream, asked_of(&client)).await.unwrap();
    assert!(product.result["told"][0][1].as_str().unwrap().contains("outside a call"), "{}", product.result);
    assert_eq!(client.heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_hold_the_call_beyond_its_time() {
    let client = Arc::new(Answers { is_silent: true, ..Answers::default() });
    let upstream = upstream(asks_within(vec![(json!(1), SAMPLE, json!({}))]), &ALL, Sharing::Sole);
    upstream.connect().await.unwrap();
    pause();
    let product = call_in(&upstream, asked_of(&client)).await.unwrap();
    assert!(product.result["told"][0][1].as_str().unwrap().contains("in time"), "{}", product.result);
}

#[tokio::test]
async fn calls_of_a_line_that_does_not_tell_them_apart_come_one_after_the_other() {
    let (silent, quick) = (Answers { is_silent: true, ..Answers::default() }, Arc::new(Answers::default()));
    let silent = Arc::new(silent);
    let upstream = upstream(asks_within(vec![(json!(1), SAMPLE, json!({"n": 1}))]), &ALL, Sharing::Sole);
    upstream.connect().await.unwrap();
    let first = tokio::spawn({
        let (upstream, context) = (Arc::clone(&upstream), asked_of(&silent));
        async move { call_in(&upstream, context).await }
    });
    silent.came.notified().await;
    let second = tokio::spawn({
        let (upstream, context) = (Arc::clone(&upstream), asked_of(&quick));
        async move { call_in(&upstream, context).await }
    });
    pause();
    // The first one's question is not answered in time; the second is asked only then, and what it asks is its own.
    let told = |product: Product| product.result["told"][0][1].clone();
    assert!(told(first.await.unwrap().unwrap()).as_str().unwrap().contains("in time"));
    match second.await.unwrap() {
        Ok(product) => assert_eq!(told(product), json!({"said": 1})),
        Err(fault) => panic!("{fault:?}"),
    }
    assert_eq!((silent.heard.lock().unwrap().len(), quick.heard.lock().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_result_that_wants_input_is_asked_again_with_it() {
    let client = Arc::new(Answers::default());
    let says = server(|call, _| {
        let given = &call["params"]["inputResponses"];
        let result = match given.get("a") {
            None => json!({"resultType": "input_required", "requestState": "s", "inputRequests": {
                "a": {"method": SAMPLE, "params": {"n": 1}}, "b": {"method": "elicitation/create", "params": {"n": 2}}
            }}),
            Some(_) => json!({"content": [], "told": given, "state": call["params"]["requestState"]}),
        };
        vec![answer(call, result)]
    });
    let upstream = upstream(says, &ALL, Sharing::Sole);
    let product = call(&upstream, asked_of(&client)).await.unwrap();
    assert_eq!(product.result["told"], json!({"a": {"said": 1}, "b": {"said": 2}}));
    assert_eq!(product.result["state"], "s");
    assert_eq!(product.enforced["upstream"]["asked"]["answered"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn one_that_wants_input_for_ever_has_no_result() {
    let client = Arc::new(Answers::default());
    let wants = |params: Value| {
        server(move |call, _| {
            let requests = json!({"a": {"method": SAMPLE, "params": params}});
            vec![answer(call, json!({"resultType": "input_required", "inputRequests": requests}))]
        })
    };
    for (params, why) in [(json!({}), "more than"), (json!({"refuse": 1}), "has refused to answer (")] {
        let product = call(&upstream(wants(params), &ALL, Sharing::Sole), asked_of(&client)).await.unwrap();
        let error = product.error.unwrap();
        assert!(error.name == "NotHandedOn" && error.message.contains(why), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_when_it_is_asked_again_may_have_acted() {
    let client = Arc::new(Answers::default());
    let wants = sane(|message| {
        let requests = json!({"a": {"method": SAMPLE, "params": {}}});
        let first = message["params"].get("inputResponses").is_none();
        first.then(|| {
            vec![answer(message, json!({"resultType": "input_required", "inputRequests": requests}))]
        })
    });
    let called = call(&upstream(wants, &ALL, Sharing::Sole), asked_of(&client)).await;
    assert!(matches!(called, Err(RunFault::Lost(_))), "{called:?}");
}

#[tokio::test]
async fn nobody_calls_what_a_server_asks() {
    let upstream = upstream(sane(|_| None), &[Asking::Sampling], Sharing::Sole);
    upstream.connect().await.unwrap();
    let tools = Upstreams::new([Arc::clone(&upstream)]);
    assert!(tools.find("srv.roots:list").is_none());
    let tool = tools.find("srv.sampling:create").unwrap();
    let (payload, options) = (json!({}), RunOptions::default());
    let call = Call { payload: &payload, options: &options, effect: Effect::Live };
    assert!(tool.prepare(&call).is_err());
    assert_eq!(Asks::default().words().count(), 0);
}
