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
        Ok(json) => error.decoded = sentence(&json),
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
}
