//! Says in one plain sentence why IAM denied a call, from EC2's encoded explanation.

use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::Error;

/// Adds the decoded explanation to `error`, if it has an encoded one and STS decodes it.
///
/// A failing decode never hides the original error.
pub(crate) async fn explain(error: &mut Error, cloud: &Cloud) {
    let Some(encoded) = error.encoded.clone() else { return };
    match cloud.decode(&encoded).await {
        Ok(json) => {
            if let Some(sentence) = sentence(&json) {
                error.explained(&sentence);
            }
        }
        Err(why) => tracing::info!(code = %why.code, "the explanation of the denied call stays encoded: {why}"),
    }
}

/// Principal, action, resource, and what decided.
fn sentence(json: &str) -> Option<String> {
    let decoded: Value = serde_json::from_str(json).ok()?;
    let context = &decoded["context"];
    let text = |value: &Value, unknown: &str| value.as_str().unwrap_or(unknown).to_owned();
    let principal = text(&context["principal"]["arn"], "the role of this instance");
    let action = text(&context["action"], "the action");
    let resource = text(&context["resource"], "the resource");
    let why = if decoded["explicitDeny"].as_bool() == Some(true) {
        format!("{} denies it explicitly", statements(&decoded["matchedStatements"]))
    } else {
        "no statement allows it".to_owned()
    };
    let failed = conditions(&decoded["failures"]).or_else(|| conditions(&decoded["matchedStatements"]));
    let failed = failed.map(|conditions| format!(" (condition {conditions})")).unwrap_or_default();
    Some(format!("{principal} may not do {action} on {resource}: {why}{failed}"))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value["items"].as_array().into_iter().flatten()
}

fn statements(matched: &Value) -> String {
    let names: Vec<_> = items(matched).filter_map(|s| s["statementId"].as_str()).filter(|id| !id.is_empty()).collect();
    if names.is_empty() { "a statement".to_owned() } else { format!("statement {}", names.join(", ")) }
}

/// The conditions of all items, as `key=value|value`.
fn conditions(list: &Value) -> Option<String> {
    let values = |c: &Value| items(&c["values"]).filter_map(|v| v["value"].as_str()).collect::<Vec<_>>().join("|");
    let all: Vec<_> = items(list)
        .flat_map(|item| items(&item["conditions"]))
        .filter_map(|c| Some(format!("{}={}", c["key"].as_str()?, values(c))))
        .collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_implicit_deny_names_principal_action_and_resource() {
        let json = r#"{"allowed":false,"explicitDeny":false,"matchedStatements":{"items":[]},"failures":{"items":[]},
            "context":{"principal":{"id":"AROA:i-1","arn":"arn:aws:sts::1:assumed-role/r/i-1"},
            "action":"ec2:AssociateAddress","resource":"arn:aws:ec2:r:1:elastic-ip/eipalloc-1","conditions":{"items":[]}}}"#;
        assert_eq!(
            sentence(json).as_deref(),
            Some(
                "arn:aws:sts::1:assumed-role/r/i-1 may not do ec2:AssociateAddress on \
                 arn:aws:ec2:r:1:elastic-ip/eipalloc-1: no statement allows it"
            )
        );
    }

    #[test]
    fn an_explicit_deny_names_its_statement_and_condition() {
        let json = r#"{"explicitDeny":true,"matchedStatements":{"items":[{"statementId":"Office","conditions":{"items":
            [{"key":"aws:SourceIp","values":{"items":[{"value":"10.0.0.0/8"},{"value":"11.0.0.0/8"}]}}]}}]},"context":{}}"#;
        let sentence = sentence(json).expect("it is JSON");
        assert!(
            sentence.ends_with("statement Office denies it explicitly (condition aws:SourceIp=10.0.0.0/8|11.0.0.0/8)"),
            "{sentence}"
        );
    }

    #[test]
    fn what_is_no_explanation_is_none() {
        assert_eq!(sentence("<html>"), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        let key = prop::sample::select(vec![
            "context",
            "principal",
            "arn",
            "action",
            "resource",
            "explicitDeny",
            "matchedStatements",
            "failures",
            "items",
            "statementId",
            "conditions",
            "key",
            "values",
            "value",
        ]);
        leaf.prop_recursive(6, 60, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..5)
                    .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_said_in_a_sentence_and_all_else_is_none(json in json(), cut in any::<prop::sample::Index>()) {
            let text = json.to_string();
            let said = sentence(&text).expect("it is JSON");
            prop_assert!(said.contains(" may not do "), "{}", said);
            if text.starts_with(['{', '[']) {
                let cuts: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
                prop_assert_eq!(sentence(&text[..cuts[cut.index(cuts.len())]]), None);
            }
        }

        #[test]
        fn principal_action_resource_and_failed_condition_are_named(
            names in prop::array::uniform6("[a-zA-Z0-9:/._-]{1,30}"), explicit in any::<bool>()
        ) {
            let [arn, action, resource, statement, key, value] = &names;
            let json = serde_json::json!({
                "allowed": false, "explicitDeny": explicit, "failures": {"items": []},
                "matchedStatements": {"items": [{"statementId": statement, "conditions": {"items": [{"key": key, "values": {"items": [{"value": value}]}}]}}]},
                "context": {"principal": {"arn": arn}, "action": action, "resource": resource},
            });
            let why = if explicit { format!("statement {statement} denies it explicitly") } else { "no statement allows it".to_owned() };
            let expected = format!("{arn} may not do {action} on {resource}: {why} (condition {key}={value})");
            prop_assert_eq!(sentence(&json.to_string()), Some(expected));
        }
    }
}
