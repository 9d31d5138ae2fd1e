//! The doors: what HTTP answers to what must not come in, and to what does, status and body.
//!
//! Every snapshot is a contract with clients: a change here is a change for them.

use execgate_testkit::{World, execute, get, post, with};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// A request that nothing is wrong with.
fn good() -> Value {
    json!({"action": "echo", "nonce": "n"})
}

/// A body of so many objects and arrays within each other.
fn nested(levels: usize) -> String {
    format!("{{\"payload\": {}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
}

#[tokio::test]
async fn a_wrong_method_is_405() {
    let reply = World::free().http(get("/execute")).await;
    assert_snapshot!(reply.show(), @r#"
    405 application/problem+json
    {"type":"https://execgate.dev/problems#method-not-allowed","title":"Method Not Allowed","status":405,"detail":"this path does not take this method; see /openapi.json","code":"method-not-allowed"}
    "#);
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let reply = World::free().http(get("/nowhere")).await;
    assert_snapshot!(reply.show(), @r#"
    404 application/problem+json
    {"type":"https://execgate.dev/problems#not-found","title":"Not Found","status":404,"detail":"there is no such path; see /openapi.json","code":"not-found"}
    "#);
}

#[tokio::test]
async fn a_body_of_another_type_is_415() {
    let request = with(post("/execute", "action=echo"), "content-type", "application/x-www-form-urlencoded");
    let reply = World::free().http(request).await;
    assert_snapshot!(reply.show(), @r#"
    415 application/problem+json
    {"type":"https://execgate.dev/problems#content-type","title":"Unsupported Media Type","status":415,"detail":"the body must be JSON, declared by `Content-Type: application/json`","code":"content-type","room":"propose"}
    "#);
}

#[tokio::test]
async fn malformed_json_is_told_by_line_and_column() {
    let reply = World::free().http(post("/execute", "{\"action\": \"echo\",\n \"nonce\": n}")).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-json","title":"Bad Request","status":400,"detail":"the body is not valid JSON: expected ident, at line 2 column 12","code":"bad-json","room":"propose"}
    "#);
}

#[tokio::test]
async fn a_key_that_stands_twice_is_refused() {
    let request = post("/execute", r#"{"action": "echo", "nonce": "a", "nonce": "b"}"#);
    let reply = World::free().http(request).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-json","title":"Bad Request","status":400,"detail":"the body is not valid JSON: an object has the key `nonce` twice, at line 1 column 40","code":"bad-json","room":"propose"}
    "#);
}

#[tokio::test]
async fn a_byte_order_mark_is_refused() {
    let reply = World::free().http(post("/execute", "\u{feff}{}")).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-json","title":"Bad Request","status":400,"detail":"the body is not valid JSON: the text starts with a byte order mark","code":"bad-json","room":"propose"}
    "#);
}

#[tokio::test]
async fn half_a_surrogate_pair_is_refused() {
    let reply = World::free().http(post("/execute", r#"{"action": "echo", "nonce": "\ud800"}"#)).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-json","title":"Bad Request","status":400,"detail":"the body is not valid JSON: unexpected end of hex escape, at line 1 column 36","code":"bad-json","room":"propose"}
    "#);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let reply = World::free().http(post("/execute", vec![b'{', 0xff])).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-json","title":"Bad Request","status":400,"detail":"the body is not valid JSON: the text is not UTF-8 from byte 1 on","code":"bad-json","room":"propose"}
    "#);
}

#[tokio::test]
async fn json_that_is_nested_too_deeply_is_refused() {
    let reply = World::free().http(post("/execute", nested(65))).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-json","title":"Bad Request","status":400,"detail":"the body is not valid JSON: the text is nested deeper than 64 levels, at line 1 column 77","code":"bad-json","room":"propose"}
    "#);
}

#[tokio::test]
async fn an_integer_that_readers_round_is_refused() {
    let request = post("/execute", r#"{"action": "echo", "payload": {"n": 9007199254740993}, "nonce": "n"}"#);
    let reply = World::free().http(request).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-json","title":"Bad Request","status":400,"detail":"the body is not valid JSON: an integer is beyond 9007199254740991 and must be written as text, at line 1 column 52","code":"bad-json","room":"propose"}
    "#);
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let reply = World::free().http(post("/execute", "[]")).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-field","title":"Bad Request","status":400,"detail":"the body must be a JSON object","code":"bad-field","room":"propose","pointer":""}
    "#);
}

#[tokio::test]
async fn a_body_of_nine_mebibytes_is_413() {
    let reply = World::free().http(post("/execute", vec![b' '; 9 << 20])).await;
    assert_snapshot!(reply.show(), @r#"
    413 application/problem+json
    {"type":"https://execgate.dev/problems#body-too-large","title":"Payload Too Large","status":413,"detail":"the body is larger than 8388608 bytes","code":"body-too-large","room":"propose"}
    "#);
}

#[tokio::test]
async fn a_nul_in_a_nonce_is_refused() {
    let reply = World::free().http(execute(&json!({"action": "echo", "nonce": "a\0b"}))).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-field","title":"Bad Request","status":400,"detail":"a nonce must hold only characters that are not control characters","code":"bad-field","room":"propose","pointer":"/nonce"}
    "#);
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let reply = World::free().http(execute(&json!({"action": "echo"}))).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-field","title":"Bad Request","status":400,"detail":"`nonce` is required","code":"bad-field","room":"propose","pointer":"/nonce"}
    "#);
}

#[tokio::test]
async fn an_unknown_field_is_named_by_its_pointer() {
    let reply = World::free().http(execute(&json!({"action": "echo", "nonce": "n", "a/b~c": 1}))).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-field","title":"Bad Request","status":400,"detail":"unknown field `a/b~c`","code":"bad-field","room":"propose","pointer":"/a~1b~0c"}
    "#);
}

#[tokio::test]
async fn an_action_that_is_no_name_is_refused() {
    let reply = World::free().http(execute(&json!({"action": "../echo", "nonce": "n"}))).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-field","title":"Bad Request","status":400,"detail":"an action's name must hold only letters, digits and `_ . : -`","code":"bad-field","room":"propose","pointer":"/action"}
    "#);
}

#[tokio::test]
async fn a_payload_that_is_no_object_is_refused() {
    let reply = World::free().http(execute(&json!({"action": "echo", "payload": [1], "nonce": "n"}))).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-field","title":"Bad Request","status":400,"detail":"`payload` must be an object, or a string that holds one","code":"bad-field","room":"propose","pointer":"/payload"}
    "#);
}

#[tokio::test]
async fn a_payload_as_text_is_read_as_strictly_as_the_body() {
    let request = execute(&json!({"action": "echo", "payload": "{\"a\": 1, \"a\": 2}", "nonce": "n"}));
    let reply = World::free().http(request).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-field","title":"Bad Request","status":400,"detail":"`payload` must be an object, or a string that holds one: an object has the key `a` twice, at line 1 column 12","code":"bad-field","room":"propose","pointer":"/payload"}
    "#);
}

#[tokio::test]
async fn a_bad_payload_is_told_by_its_pointer() {
    let request = execute(&json!({"action": "add", "payload": {"a": 1, "b": "2"}, "nonce": "n"}));
    let reply = World::free().http(request).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#bad-payload","title":"Bad Request","status":400,"detail":"`b` must be a number","code":"bad-payload","room":"propose","rule":"bad-payload","pointer":"/payload/b"}
    "#);
}

#[tokio::test]
async fn an_unknown_action_is_told_in_the_words_that_clients_look_for() {
    let reply = World::free().http(execute(&json!({"action": "nowhere", "nonce": "n"}))).await;
    assert_snapshot!(reply.show(), @r#"
    400 application/problem+json
    {"type":"https://execgate.dev/problems#unknown-action","title":"Bad Request","status":400,"detail":"Unknown action: nowhere","code":"unknown-action","room":"propose","rule":"unknown-action"}
    "#);
}

#[tokio::test]
async fn a_foreign_origin_is_403() {
    let reply = World::free().http(with(execute(&good()), "origin", "https://evil.example")).await;
    assert_snapshot!(reply.show(), @r#"
    403 application/problem+json
    {"type":"https://execgate.dev/problems#foreign-origin","title":"Forbidden","status":403,"detail":"requests of pages from elsewhere are refused","code":"foreign-origin"}
    "#);
}

#[tokio::test]
async fn a_foreign_host_is_421() {
    let reply = World::free().http(with(execute(&good()), "host", "evil.example")).await;
    assert_snapshot!(reply.show(), @r#"
    421 application/problem+json
    {"type":"https://execgate.dev/problems#misdirected","title":"Misdirected Request","status":421,"detail":"this host name is not served here; the operator lists names under `hosts`","code":"misdirected"}
    "#);
}

#[tokio::test]
async fn a_forwarded_request_in_free_mode_is_403() {
    let reply = World::free().http(with(execute(&good()), "x-forwarded-for", "10.0.0.1")).await;
    assert_snapshot!(reply.show(), @r#"
    403 application/problem+json
    {"type":"https://execgate.dev/problems#proxied-free-mode","title":"Forbidden","status":403,"detail":"free mode takes no request that came through a proxy","code":"proxied-free-mode"}
    "#);
}

#[tokio::test]
async fn a_credential_that_opens_nothing_is_401_and_says_what_would() {
    let reply = World::free().http(with(execute(&good()), "authorization", "Bearer secret")).await;
    let challenge = "Bearer realm=\"execgate\", error=\"invalid_token\", \
                     error_description=\"this key is of no grant here, or its grant is revoked\"";
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
    assert_snapshot!(reply.show(), @r#"
    401 application/problem+json
    {"type":"https://execgate.dev/problems#bad-credential","title":"Unauthorized","status":401,"detail":"this key is of no grant here, or its grant is revoked","code":"bad-credential","room":"propose","rule":"unknown-key"}
    "#);
}

#[tokio::test]
async fn a_run_that_is_not_there_is_404() {
    let reply = World::free().http(get("/runs/00000000-0000-8000-8000-000000000000")).await;
    assert_snapshot!(reply.show(), @r#"
    404 application/problem+json
    {"type":"https://execgate.dev/problems#not-found","title":"Not Found","status":404,"detail":"there is no such run, or it belongs to somebody else","code":"not-found"}
    "#);
}

#[tokio::test]
async fn a_receipt_that_is_not_there_is_404() {
    let reply = World::free().http(get("/receipts/no-id")).await;
    assert_snapshot!(reply.show(), @r#"
    404 application/problem+json
    {"type":"https://execgate.dev/problems#not-found","title":"Not Found","status":404,"detail":"there is no such run, or it belongs to somebody else","code":"not-found"}
    "#);
}

#[tokio::test]
async fn a_handler_that_panics_is_409_with_a_receipt() {
    let reply = World::free().http(execute(&json!({"action": "panics", "nonce": "n"}))).await;
    assert_snapshot!(reply.show(), @r#"
    409 application/problem+json
    {"type":"https://execgate.dev/problems#run-outcome-unknown","title":"Conflict","status":409,"detail":"the end of this run is lost; it may have acted. It is never started again by itself, nothing is charged, and the operator can say what became of it","code":"run-outcome-unknown","room":"execute","rule":"at-most-once","exec_id":"829be188-cb9c-8c4a-b261-a035bd02e621","receipt":"34b704d67f1c9043e6fbb27f380972e7620218eb83170334ed4ef84f41892585"}
    "#);
}

#[tokio::test]
async fn a_full_house_is_503() {
    let reply = World::free().http(execute(&json!({"action": "full", "nonce": "n"}))).await;
    assert_snapshot!(reply.show(), @r#"
    503 application/problem+json
    {"type":"https://execgate.dev/problems#no-slot","title":"Service Unavailable","status":503,"detail":"every slot is taken","code":"no-slot","room":"execute","rule":"full"}
    "#);
}

#[tokio::test]
async fn a_run_that_could_not_be_started_is_503() {
    let reply = World::free().http(execute(&json!({"action": "unstartable", "nonce": "n"}))).await;
    assert_snapshot!(reply.show(), @r#"
    503 application/problem+json
    {"type":"https://execgate.dev/problems#not-started","title":"Service Unavailable","status":503,"detail":"the run could not be started; nothing is charged, try again","code":"not-started","room":"execute","rule":"not-started"}
    "#);
}

#[tokio::test]
async fn a_value_is_200() {
    let request = execute(&json!({"action": "add", "payload": {"a": 2, "b": 3}, "nonce": "n"}));
    let reply = World::free().http(request).await;
    assert_snapshot!(reply.show(), @r#"
    200 application/json
    {"action":"add","approved":true,"id":"094fdc0d-975b-8a1f-a3b8-fb7ed887ff84","receipt":"369bfc36f2f614f420bb0e146b9537f4441cd26c528fbcc84f05ff580c26a181","result":{"sum":5}}
    "#);
}

#[tokio::test]
async fn an_exception_is_200_with_its_error() {
    let reply = World::free().http(execute(&json!({"action": "raises", "nonce": "n"}))).await;
    assert_snapshot!(reply.show(), @r#"
    200 application/json
    {"action":"raises","approved":true,"id":"3edc65da-3b51-833b-b0a6-fd3b8744eda1","receipt":"7d7960ea74d7afa9cec2890c305e2fe83d236eb86b8b5942003f15c88645576f","result":{"error":{"message":"no such luck","name":"ValueError","traceback":""},"result":null}}
    "#);
}
