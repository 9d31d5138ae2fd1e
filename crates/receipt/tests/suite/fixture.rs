//! A typical run, and the receipt file that its owner gets.

use std::sync::Arc;

use execgate_model::{
    ActionName, Amount, Caller, Effect, GrantId, Identity, InstanceId, Nonce, RuleId, TenantId, UnixMs,
};
use execgate_receipt::{
    ApprovalBasis, Charged, Gateway, Kind, ReceiptFile, RunFacts, Seal, SigningKey, Statement, digest_json,
    run_id, seal, sha256,
};
use serde_json::{Map, Value, json};

/// All that varies between runs.
pub(crate) struct Run {
    pub(crate) args: Value,
    pub(crate) result: Option<Value>,
    pub(crate) nonce: Option<&'static str>,
    pub(crate) outcome: &'static str,
    pub(crate) enforced: Value,
    pub(crate) salt: [u8; 32],
}

impl Default for Run {
    fn default() -> Self {
        Self {
            args: json!({"code": "print('caf\u{e9}')\n", "limit": 1e30, "list": [1, 2.5, null, "\u{1f}"]}),
            result: Some(json!({"stdout": "caf\u{e9}\n", "stderr": "", "error": null})),
            nonce: Some("order-42"),
            outcome: "value",
            enforced: json!({
                "kind": "jail", "namespaces": ["mount", "net", "pid", "user"], "network": "none",
                "limits": {"memory_bytes": 268_435_456, "processes": 64, "timeout_ms": 10_000}, "seccomp": true,
            }),
            salt: [0x5a; 32],
        }
    }
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[42; 32])
}

impl Run {
    pub(crate) fn statement(&self) -> Statement {
        let action = ActionName::new("python").unwrap();
        let nonce = self.nonce.map(|text| Nonce::new(text).unwrap());
        let grant = GrantId::new("ci").unwrap();
        let caller = Caller {
            tenant: TenantId::new("acme").unwrap(),
            identity: Identity::Grant { id: grant, internal: false, labels: Arc::default() },
        };
        self.facts(&action, nonce.as_ref(), &caller, &RuleId::new("tools.python.allow").unwrap())
            .into_statement(&self.salt)
            .unwrap()
    }

    fn facts<'a>(
        &'a self,
        action: &'a ActionName,
        nonce: Option<&'a Nonce>,
        caller: &'a Caller,
        rule: &'a RuleId,
    ) -> RunFacts<'a> {
        let Value::Object(enforced) = self.enforced.clone() else { panic!("enforced is an object") };
        RunFacts {
            kind: Kind::Final,
            exec_id: run_id("acme\ngrant\nci", self.nonce.unwrap_or("none"), sha256(b"fingerprint")),
            action,
            args_digest: digest_json(&self.args).unwrap(),
            result_digest: self.result.as_ref().map(|result| digest_json(result).unwrap()),
            nonce,
            outcome: self.outcome,
            charged: Some(Charged {
                amount: Amount::from_micros(20_000),
                currency: "USD".to_owned(),
                rail: "x402".to_owned(),
            }),
            payment_claim: Some("eip155:8453/0xabc/0x01"),
            caller,
            policy_digest: sha256(b"policy"),
            rule,
            iam: "none",
            approval: ApprovalBasis::Rule(RuleId::new("approval.not-required").unwrap()),
            approvals: Vec::new(),
            effect: Effect::Live,
            context_digest: None,
            enforced,
            instance: InstanceId::from_entropy([6; 16]),
            started_at: UnixMs(1_795_168_800_123),
            finished_at: Some(UnixMs(1_795_168_800_456)),
            gateway: Gateway { name: "execgate".to_owned(), version: "0.1.0".to_owned() },
        }
    }

    pub(crate) fn seal(&self) -> Seal {
        seal(&key(), &self.statement(), &self.salt).unwrap()
    }

    pub(crate) fn file(&self) -> ReceiptFile {
        let statement = self.statement();
        let content = json!({
            "v": 1, "exec_id": statement.predicate.exec_id.to_string(), "action": "python",
            "args_digest": digest_json(&self.args).unwrap(), "nonce": self.nonce, "outcome": self.outcome,
            "result_digest": self.result.as_ref().map(|result| digest_json(result).unwrap()),
        });
        ReceiptFile {
            exec_id: statement.predicate.exec_id,
            receipt: digest_json(&content).unwrap(),
            salt: self.salt,
            envelope: self.seal().into_envelope(),
            args: Some(self.args.clone()),
            result: self.result.clone(),
            nonce: self.nonce.map(str::to_owned),
            public_key: Some(key().verifying_key().to_spki_pem().unwrap()),
            log_proof: None,
            log_key: None,
        }
    }
}

/// A statement changed behind the back of its builder, and sealed.
pub(crate) fn resealed(file: &ReceiptFile, change: impl FnOnce(&mut Map<String, Value>)) -> ReceiptFile {
    use execgate_receipt::{Envelope, PAYLOAD_TYPE, canonical, parse_strict};
    let (payload, _) = file.envelope.open(PAYLOAD_TYPE, &[key().verifying_key()]).unwrap();
    let Value::Object(mut map) = parse_strict(&payload).unwrap() else { panic!("a statement is an object") };
    change(&mut map);
    let payload = canonical(&Value::Object(map)).unwrap();
    ReceiptFile { envelope: Envelope::sign(&key(), PAYLOAD_TYPE, &payload), ..file.clone() }
}
