//! What a role's policy allows, by IAM's rules: statements with effect, actions, resources and conditions.
//! It knows what the policies of `terraform/policies` need; what it does not know, `document.rs` refuses.

mod document;

use crate::filters::matches;
use std::collections::BTreeMap;

/// A policy, read.
pub(crate) struct Policy {
    statements: Vec<Statement>,
}

/// One of its statements.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sid: String,
    effect: Effect,
    /// In lower case, with wildcards.
    actions: Vec<String>,
    /// `*`, or ARNs with wildcards.
    resources: Vec<String>,
    /// All of them must hold.
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug)]
struct Condition {
    operator: Operator,
    key: Key,
    /// Any of them will do.
    values: Vec<Vec<Part>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    StringEquals,
    /// `ArnLike` and `ArnEquals` are the same: each part of the ARN is compared by itself, with wildcards.
    Arn,
}

/// A piece of a value: a text, or the value of a key (`${ec2:InstanceID}`).
#[derive(Debug)]
enum Part {
    Text(String),
    Variable(Key),
}

/// What a condition looks at.
#[derive(Debug)]
enum Key {
    /// `aws:ResourceTag/…`: a tag of the resource.
    Tag(String),
    /// `ec2:ResourceTag/…`: the same, for resources of EC2 alone.
    Ec2Tag(String),
    /// `ec2:SourceInstanceARN`: the instance whose role is calling.
    SourceInstance,
    /// `ec2:InstanceID`: the instance that the resource is.
    InstanceId,
}

/// One thing that a call is about, as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) arn: String,
    pub(crate) tags: BTreeMap<String, String>,
    /// There is one if it is an instance.
    pub(crate) instance_id: Option<String>,
}

impl Resource {
    /// What a call is about that knows no resources.
    pub(crate) fn none() -> Resource {
        Resource { arn: "*".into(), ..Resource::default() }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.arn == "*"
    }
}

/// A call as it is judged: once for each resource.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// As IAM writes it: `ec2:AssociateAddress`.
    pub(crate) action: &'a str,
    pub(crate) resource: &'a Resource,
    /// The ARN of the instance whose role is calling.
    pub(crate) source: &'a str,
}

/// What the policies of a role come to.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    Allowed,
    NotAllowed,
    /// This statement denies it, whatever others allow.
    Denied(&'a Statement),
}

/// Judges by all policies of a role together.
pub(crate) fn judge<'a>(policies: impl IntoIterator<Item = &'a Policy>, request: Request) -> Verdict<'a> {
    let mut verdict = Verdict::NotAllowed;
    for statement in policies.into_iter().flat_map(|policy| &policy.statements) {
        match statement.effect {
            _ if !statement.applies(request) => {}
            Effect::Deny => return Verdict::Denied(statement),
            Effect::Allow => verdict = Verdict::Allowed,
        }
    }
    verdict
}

impl Statement {
    fn applies(&self, request: Request) -> bool {
        let action = request.action.to_ascii_lowercase();
        let arn = &request.resource.arn;
        self.actions.iter().any(|pattern| matches(pattern, &action))
            && self.resources.iter().any(|pattern| pattern == "*" || arn_matches(pattern, arn))
            && self.conditions.iter().all(|condition| condition.holds(request))
    }

    /// Its conditions as they come out for the request: keys, and the values of which one was asked for.
    pub(crate) fn conditions(&self, request: Request) -> Vec<(String, Vec<String>)> {
        let expanded = |c: &Condition| c.values.iter().filter_map(|value| expand(value, request)).collect();
        self.conditions.iter().map(|condition| (condition.key.name(), expanded(condition))).collect()
    }
}

impl Condition {
    /// A key that the request does not have holds for nothing.
    fn holds(&self, request: Request) -> bool {
        let Some(has) = self.key.value(request) else { return false };
        let wanted = self.values.iter().filter_map(|value| expand(value, request));
        wanted.into_iter().any(|wanted| match self.operator {
            Operator::StringEquals => wanted == has,
            Operator::Arn => arn_matches(&wanted, has),
        })
    }
}

fn expand(parts: &[Part], request: Request) -> Option<String> {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Variable(key) => key.value(request),
        })
        .collect()
}

impl Key {
    fn name(&self) -> String {
        match self {
            Key::Tag(tag) => format!("aws:ResourceTag/{tag}"),
            Key::Ec2Tag(tag) => format!("ec2:ResourceTag/{tag}"),
            Key::SourceInstance => "ec2:SourceInstanceARN".into(),
            Key::InstanceId => "ec2:InstanceID".into(),
        }
    }

    fn value<'a>(&self, request: Request<'a>) -> Option<&'a str> {
        let resource = request.resource;
        // Names of keys are not case-sensitive, and the tag is a part of the name.
        let tag = |key: &str| {
            let mut tags = resource.tags.iter();
            tags.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
        };
        match self {
            Key::Tag(key) => tag(key),
            Key::Ec2Tag(key) => tag(key).filter(|_| resource.arn.starts_with("arn:aws:ec2:")),
            Key::SourceInstance => Some(request.source),
            Key::InstanceId => resource.instance_id.as_deref(),
        }
    }
}

/// Compares the six parts of an ARN one by one; the last may have colons of its own.
fn arn_matches(pattern: &str, arn: &str) -> bool {
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.splitn(6, ':').collect(), arn.splitn(6, ':').collect());
    patterns.len() == 6 && parts.len() == 6 && patterns.iter().zip(&parts).all(|(pattern, part)| matches(pattern, part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::tags;
    use serde_json::{Value, json};

    const SOURCE: &str = "arn:aws:ec2:ap-northeast-2:123456789012:instance/i-1";

    fn policy(statements: Value) -> Policy {
        let document = json!({"Version": "2012-10-17", "Statement": statements});
        Policy::parse(&document.to_string()).unwrap()
    }

    fn address(value: &str) -> Resource {
        let arn = "arn:aws:ec2:ap-northeast-2:123456789012:elastic-ip/eipalloc-1".into();
        Resource { arn, tags: tags(&[("eip-claim", value)]), instance_id: None }
    }

    fn instance(id: &str) -> Resource {
        let arn = format!("arn:aws:ec2:ap-northeast-2:123456789012:instance/{id}");
        Resource { arn, instance_id: Some(id.into()), ..Resource::default() }
    }

    fn allows(policy: &Policy, action: &str, resource: &Resource) -> bool {
        let request = Request { action, resource, source: SOURCE };
        matches!(judge([policy], request), Verdict::Allowed)
    }

    #[test]
    fn a_statement_allows_its_actions_on_its_resources_and_nothing_else() {
        let group = Resource {
            arn: "arn:aws:autoscaling:ap-northeast-2:123456789012:autoScalingGroup:0:autoScalingGroupName/asg".into(),
            ..Resource::default()
        };
        let rows = [
            ("ec2:AssociateAddress", "*", "ec2:AssociateAddress", address("web"), true),
            ("EC2:associateaddress", "*", "ec2:AssociateAddress", address("web"), true),
            ("ec2:*Address", "*", "ec2:AssociateAddress", address("web"), true),
            ("ec2:?ssociateAddress", "*", "ec2:DisassociateAddress", address("web"), false),
            ("ec2:Associate", "*", "ec2:AssociateAddress", address("web"), false),
            ("*", "*", "sts:DecodeAuthorizationMessage", Resource::none(), true),
            ("ec2:*", "arn:aws:ec2:*:*:elastic-ip/*", "ec2:AssociateAddress", address("web"), true),
            ("ec2:*", "arn:aws:ec2:*:*:elastic-ip/*", "ec2:AssociateAddress", instance("i-1"), false),
            ("ec2:*", "arn:aws:ec2:*:*:elastic-ip/*", "ec2:DescribeAddresses", Resource::none(), false),
            ("ec2:*", "arn:aws:ec2:*:elastic-ip/*:*", "ec2:AssociateAddress", address("web"), false),
            ("ec2:*", "arn:aws:ec2:eu-*:*:*", "ec2:AssociateAddress", address("web"), false),
            ("*", "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/a*", "autoscaling:X", group, true),
        ];
        for (allowed, on, action, resource, expected) in rows {
            let policy = policy(json!({"Effect": "Allow", "Action": allowed, "Resource": on}));
            assert_eq!(allows(&policy, action, &resource), expected, "{allowed} on {on}: {action} on {}", resource.arn);
        }
    }

    #[test]
    fn every_condition_must_hold_with_any_of_its_values() {
        let own = "arn:aws:ec2:*:*:instance/${ec2:InstanceID}";
        let rows = [
            (json!({"StringEquals": {"aws:ResourceTag/eip-claim": "web"}}), address("web"), true),
            (json!({"StringEquals": {"aws:ResourceTag/eip-claim": "web"}}), address("Web"), false),
            (json!({"StringEquals": {"aws:ResourceTag/eip-claim": "w*"}}), address("web"), false),
            (json!({"StringEquals": {"aws:ResourceTag/eip-claim": "web"}}), instance("i-1"), false),
            (json!({"StringEquals": {"AWS:resourcetag/eip-claim": ["mail", "web"]}}), address("web"), true),
            (json!({"StringEquals": {"ec2:ResourceTag/eip-claim": "web"}}), address("web"), true),
            (json!({"StringEquals": {"aws:ResourceTag/other": "web"}}), address("web"), false),
            (json!({"ArnLike": {"ec2:SourceInstanceARN": own}}), instance("i-1"), true),
            (json!({"ArnEquals": {"ec2:SourceInstanceARN": own}}), instance("i-1"), true),
            (json!({"ArnLike": {"ec2:SourceInstanceARN": own}}), instance("i-2"), false),
            (json!({"ArnLike": {"ec2:SourceInstanceARN": own}}), address("web"), false),
            (json!({"StringEquals": {"ec2:SourceInstanceARN": own}}), instance("i-1"), false),
            (json!({"StringEquals": {"ec2:SourceInstanceARN": SOURCE}}), address("web"), true),
            (
                json!({"ArnLike": {"ec2:SourceInstanceARN": own}, "StringEquals": {"ec2:InstanceID": "i-2"}}),
                instance("i-1"),
                false,
            ),
        ];
        for (condition, resource, expected) in rows {
            let text = condition.to_string();
            let policy = policy(json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}));
            assert_eq!(allows(&policy, "ec2:AssociateAddress", &resource), expected, "{text} on {}", resource.arn);
        }
    }

    #[test]
    fn a_denial_counts_more_than_any_number_of_permissions_if_its_condition_holds() {
        let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let condition = json!({"StringEquals": {"aws:ResourceTag/eip-claim": "mail"}});
        let deny = json!({"Sid": "No", "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition});
        for statements in [json!([allow, deny]), json!([deny, allow])] {
            let policy = policy(statements);
            assert!(allows(&policy, "ec2:AssociateAddress", &address("web")));
            let mail = address("mail");
            let request = Request { action: "ec2:AssociateAddress", resource: &mail, source: SOURCE };
            let Verdict::Denied(statement) = judge([&policy], request) else { panic!("it is denied") };
            assert_eq!(statement.sid, "No");
            assert_eq!(statement.conditions(request), [("aws:ResourceTag/eip-claim".into(), vec!["mail".into()])]);
        }
    }
}
