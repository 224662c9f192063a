//! Reads a policy document. What is not known here is an error, so that nothing is ever allowed by an element that
//! nobody has looked at.

use super::{Condition, Effect, Key, Operator, Part, Policy, Statement};
use serde_json::{Map, Value};

/// The only version that has variables.
const VERSION: &str = "2012-10-17";

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// It is none, or has something that is not known here.
    pub(crate) fn parse(text: &str) -> Result<Policy, String> {
        let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let document = object(&document, "a policy", &["Version", "Statement"])?;
        if document.get("Version").and_then(Value::as_str) != Some(VERSION) {
            return Err(format!("the Version of a policy must be {VERSION}"));
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.iter().map(statement).collect(),
            Some(only @ Value::Object(_)) => statement(only).map(|only| vec![only]),
            _ => Err("a policy needs a Statement".into()),
        };
        Ok(Policy { statements: statements? })
    }
}

fn statement(value: &Value) -> Result<Statement, String> {
    let fields = object(value, "a statement", &["Sid", "Effect", "Action", "Resource", "Condition"])?;
    let sid = match fields.get("Sid") {
        None => "",
        Some(Value::String(sid)) if sid.chars().all(|c| c.is_ascii_alphanumeric()) => sid,
        Some(other) => return Err(format!("a Sid has only letters and digits, not {other}")),
    };
    let effect = match fields.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => return Err("the Effect of a statement is Allow or Deny".into()),
    };
    let texts = |name| texts(fields.get(name).unwrap_or(&Value::Null)).ok_or(format!("{name} must be texts"));
    let mut conditions = Vec::new();
    if let Some(value) = fields.get("Condition") {
        let operators = value.as_object().ok_or("Condition must be an object")?;
        for (operator, keys) in operators {
            let keys = keys.as_object().ok_or(format!("{operator} must have an object"))?;
            for (key, values) in keys {
                conditions.push(condition(operator, key, values)?);
            }
        }
    }
    Ok(Statement {
        sid: sid.into(),
        effect,
        actions: texts("Action")?.into_iter().map(action).collect::<Result<_, _>>()?,
        resources: texts("Resource")?.into_iter().map(resource).collect::<Result<_, _>>()?,
        conditions,
    })
}

fn condition(operator: &str, key: &str, values: &Value) -> Result<Condition, String> {
    let operator = match operator {
        "StringEquals" => Operator::StringEquals,
        "ArnLike" | "ArnEquals" => Operator::Arn,
        _ => return Err(format!("the operator {operator} is not known here")),
    };
    let texts = texts(values).ok_or(format!("the values of {key} must be texts"))?;
    if operator == Operator::Arn && texts.iter().any(|text| text.contains('\\')) {
        return Err(format!("a backslash in the values of {key} is not known here"));
    }
    let values: Result<Vec<_>, String> = texts.into_iter().map(parts).collect();
    Ok(Condition { operator, key: self::key(key)?, values: values? })
}

fn key(name: &str) -> Result<Key, String> {
    let lower = name.to_ascii_lowercase();
    let tag = name.split_once('/').map(|(_, tag)| tag.to_string()).filter(|tag| !tag.is_empty());
    match (lower.split('/').next().unwrap_or_default(), tag) {
        ("aws:resourcetag", Some(tag)) => Ok(Key::Tag(tag)),
        ("ec2:resourcetag", Some(tag)) => Ok(Key::Ec2Tag(tag)),
        ("ec2:sourceinstancearn", None) => Ok(Key::SourceInstance),
        ("ec2:instanceid", None) => Ok(Key::InstanceId),
        _ => Err(format!("the key {name} is not known here")),
    }
}

/// Takes the variables out of a value.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut pieces = text.split("${");
    let mut parts = vec![Part::Text(pieces.next().unwrap_or_default().into())];
    for piece in pieces {
        let (variable, rest) = piece.split_once('}').ok_or(format!("a variable has no end in {text}"))?;
        parts.push(Part::Variable(key(variable)?));
        parts.push(Part::Text(rest.into()));
    }
    Ok(parts)
}

/// `*`, or a service and a name with wildcards; neither is case-sensitive.
fn action(text: &str) -> Result<String, String> {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "*?-".contains(c));
    match text.split_once(':') {
        _ if text == "*" => Ok(text.into()),
        Some((service, name)) if is_word(service) && is_word(name) => Ok(text.to_ascii_lowercase()),
        _ => Err(format!("{text} is no action")),
    }
}

/// `*`, or a whole ARN with wildcards, of which AWS takes none in the kind of the resource.
fn resource(text: &str) -> Result<String, String> {
    let is_arn = text.starts_with("arn:") && text.splitn(6, ':').count() == 6;
    let kind = text.splitn(6, ':').last().and_then(|last| last.split_once(['/', ':']));
    match text {
        _ if text.contains(['$', '\\']) => Err(format!("variables in resources are not known here: {text}")),
        _ if kind.is_some_and(|(kind, _)| kind.contains(['*', '?'])) => {
            Err(format!("a kind of resource has no wildcards: {text}"))
        }
        _ if text == "*" || is_arn => Ok(text.into()),
        _ => Err(format!("{text} is no resource")),
    }
}

fn object<'a>(value: &'a Value, what: &str, known: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let fields = value.as_object().ok_or(format!("{what} must be an object"))?;
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(other) => Err(format!("the element {other} of {what} is not known here")),
        None => Ok(fields),
    }
}

/// One text, or several.
fn texts(value: &Value) -> Option<Vec<&str>> {
    let texts = match value {
        Value::String(only) => vec![only.as_str()],
        Value::Array(several) => several.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    Some(texts).filter(|texts| !texts.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_an_error_that_names_it() {
        let full = json!({"Sid": "A", "Effect": "Allow", "Action": "ec2:*", "Resource": "*",
            "Condition": {"StringEquals": {"aws:ResourceTag/a": "b"}}});
        let with = |name: &str, value: Value| {
            let mut statement = full.clone();
            statement[name] = value;
            json!({"Version": "2012-10-17", "Statement": [statement]})
        };
        let when = |operator: &str, key: &str, value: Value| with("Condition", json!({operator: {key: value}}));
        Policy::parse(&with("Effect", json!("Deny")).to_string()).unwrap();
        let rows = [
            (json!("text"), "must be an object"),
            (json!({"Version": "2008-10-17", "Statement": [full.clone()]}), "Version"),
            (json!({"Version": "2012-10-17", "Statement": []}), "Statement"),
            (json!({"Version": "2012-10-17", "Statement": [full.clone()], "Id": "x"}), "Id"),
            (with("NotAction", json!("ec2:*")), "NotAction"),
            (with("NotResource", json!("*")), "NotResource"),
            (with("Principal", json!("*")), "Principal"),
            (with("Sid", json!("a b")), "Sid"),
            (with("Effect", json!("allow")), "Effect"),
            (with("Action", json!([])), "Action"),
            (with("Action", json!("AssociateAddress")), "AssociateAddress"),
            (with("Action", json!("ec2:Associate Address")), "Associate Address"),
            (with("Resource", json!(7)), "Resource"),
            (with("Resource", json!("elastic-ip/*")), "elastic-ip/*"),
            (with("Resource", json!("arn:aws:ec2:*")), "arn:aws:ec2:*"),
            (with("Resource", json!("arn:aws:ec2:*:*:elastic-*/eipalloc-1")), "no wildcards"),
            (with("Resource", json!("arn:aws:ec2:*:*:instance/${ec2:InstanceID}")), "variables"),
            (with("Condition", json!([])), "Condition"),
            (when("StringLike", "aws:ResourceTag/a", json!("b")), "StringLike"),
            (when("StringEqualsIfExists", "aws:ResourceTag/a", json!("b")), "StringEqualsIfExists"),
            (when("ForAnyValue:StringEquals", "aws:ResourceTag/a", json!("b")), "ForAnyValue:StringEquals"),
            (when("StringEquals", "aws:ResourceTag/", json!("b")), "aws:ResourceTag/"),
            (when("StringEquals", "aws:RequestTag/a", json!("b")), "aws:RequestTag/a"),
            (when("StringEquals", "ec2:Region", json!("b")), "ec2:Region"),
            (when("StringEquals", "aws:ResourceTag/a", json!(true)), "aws:ResourceTag/a"),
            (when("StringEquals", "aws:ResourceTag/a", json!("${aws:username}")), "aws:username"),
            (when("StringEquals", "aws:ResourceTag/a", json!("${*}")), "*"),
            (when("ArnLike", "ec2:SourceInstanceARN", json!("${ec2:InstanceID")), "no end"),
            (when("ArnLike", "ec2:SourceInstanceARN", json!("arn:aws:ec2:*:*:instance/\\*")), "backslash"),
        ];
        for (document, named) in rows {
            let error = Policy::parse(&document.to_string()).err().unwrap_or_else(|| panic!("accepted: {document}"));
            assert!(error.contains(named), "{error}: {document}");
        }
        assert!(Policy::parse("{").is_err());
    }
}
