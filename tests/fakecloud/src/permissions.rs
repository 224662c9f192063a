//! Who may do what: policies of roles, denials for a test that needs no policy, the refusals in the words of AWS,
//! and the encoded messages that explain them.

use crate::filters;
use crate::iam::Caller;
use crate::policies::{Policy, Request, Resource, Statement, Verdict, judge};
use crate::world::{ApiError, World, scramble};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
pub(crate) struct Permissions {
    /// By role, and by the name of the policy. A role without one may do everything.
    policies: BTreeMap<String, BTreeMap<String, Policy>>,
    /// Action, and the instance that may not, or `None`: no instance may.
    denials: BTreeSet<(Option<String>, String)>,
    /// What the encoded messages say.
    messages: HashMap<String, Value>,
}

impl Permissions {
    pub(crate) fn put_role_policy(&mut self, role: &str, name: &str, document: &str) -> Result<(), String> {
        let policy = Policy::parse(document)?;
        self.policies.entry(role.into()).or_default().insert(name.into(), policy);
        Ok(())
    }

    pub(crate) fn deny(&mut self, instance: Option<&str>, action: &str) {
        self.denials.insert((instance.map(String::from), action.into()));
    }

    pub(crate) fn allow(&mut self, instance: Option<&str>, action: &str) {
        self.denials.remove(&(instance.map(String::from), action.into()));
    }

    fn is_denied(&self, instance: &str, action: &str) -> bool {
        self.denials
            .iter()
            .filter(|(who, _)| who.as_deref().is_none_or(|who| who == instance))
            .any(|(_, pattern)| filters::matches(pattern, action))
    }
}

impl World {
    /// The ARN of something in EC2.
    pub(crate) fn arn(&self, kind: &str, id: &str) -> String {
        format!("arn:aws:ec2:{}:{}:{kind}/{id}", self.options.region, self.options.account)
    }

    /// Whether the caller may do `action`, written as IAM does, to each of `resources`: the first one that fails is
    /// named in the refusal.
    pub(crate) fn authorize(&mut self, caller: &Caller, action: &str, resources: &[Resource]) -> Result<(), ApiError> {
        let Some(instance) = caller.instance() else { return Ok(()) };
        let source = self.arn("instance", instance);
        for resource in resources {
            let request = Request { action, resource, source: &source };
            match self.verdict(instance, request) {
                Verdict::Allowed => {}
                Verdict::NotAllowed => return Err(self.refuse(caller, request, None)),
                Verdict::Denied(statement) => {
                    let matched = in_json(statement, request);
                    return Err(self.refuse(caller, request, Some(matched)));
                }
            }
        }
        Ok(())
    }

    fn verdict(&self, instance: &str, request: Request) -> Verdict<'_> {
        let role = self.instance(instance).role.as_deref();
        let policies = role.and_then(|role| self.permissions.policies.get(role));
        match policies {
            _ if self.permissions.is_denied(instance, request.action) => Verdict::NotAllowed,
            Some(policies) => judge(policies.values(), request),
            None => Verdict::Allowed,
        }
    }

    /// The refusal, in the words of the service; `matched` is the statement that denies it, if one does.
    fn refuse(&mut self, caller: &Caller, request: Request, matched: Option<Value>) -> ApiError {
        let Request { action, resource, .. } = request;
        let (arn, _) = self.principal(caller);
        let because = match matched {
            Some(_) => "with an explicit deny in an identity-based policy".to_string(),
            None => format!("because no identity-based policy allows the {action} action"),
        };
        let on = if resource.is_none() { String::new() } else { format!(" on resource: {}", resource.arn) };
        let text = format!("User: {arn} is not authorized to perform: {action}{on} {because}");
        if !action.starts_with("ec2:") {
            return ApiError::new(403, "AccessDenied", text);
        }
        let mut text = format!("You are not authorized to perform this operation. {text}");
        // EC2 encodes nothing for what has no resource.
        if !resource.is_none() {
            let encoded = self.encode(caller, request, matched);
            text = format!("{text}. Encoded authorization failure message: {encoded}");
        }
        ApiError::new(403, "UnauthorizedOperation", text)
    }

    fn encode(&mut self, caller: &Caller, request: Request, matched: Option<Value>) -> String {
        let Request { action, resource, source } = request;
        let (arn, id) = self.principal(caller);
        let mut conditions = vec![
            condition("aws:Region", [&self.options.region]),
            condition("aws:Account", [&self.options.account]),
            condition("aws:ARN", [&resource.arn]),
            condition("ec2:SourceInstanceARN", [source]),
        ];
        conditions.extend(resource.instance_id.iter().map(|id| condition("ec2:InstanceID", [id])));
        conditions
            .extend(resource.tags.iter().map(|(key, value)| condition(&format!("aws:ResourceTag/{key}"), [value])));
        let message = json!({
            "allowed": false,
            "explicitDeny": matched.is_some(),
            "matchedStatements": {"items": Vec::from_iter(matched)},
            "failures": {"items": []},
            "context": {
                "principal": {"id": id, "arn": arn},
                "action": action,
                "resource": resource.arn,
                "conditions": {"items": conditions},
            },
        });
        let n = scramble(self.permissions.messages.len() as u64);
        let encoded: String = (0..24).map(|i| format!("{:016x}", scramble(n ^ i))).collect();
        let encoded = format!("Fake-{encoded}_Message");
        self.permissions.messages.insert(encoded.clone(), message);
        encoded
    }

    /// What an encoded message says, if it came from here.
    pub(crate) fn decode(&self, encoded: &str) -> Result<String, ApiError> {
        let message = self.permissions.messages.get(encoded).map(Value::to_string);
        message.ok_or_else(|| ApiError::bad("InvalidAuthorizationMessageException", "Message is not valid"))
    }
}

/// A statement as a decoded message shows it.
fn in_json(statement: &Statement, request: Request) -> Value {
    let conditions = statement.conditions(request);
    let conditions: Vec<Value> = conditions.iter().map(|(key, values)| condition(key, values)).collect();
    json!({"statementId": statement.sid, "effect": "DENY", "conditions": {"items": conditions}})
}

fn condition<S: AsRef<str>>(key: &str, values: impl IntoIterator<Item = S>) -> Value {
    let values: Vec<Value> = values.into_iter().map(|value| json!({"value": value.as_ref()})).collect();
    json!({"key": key, "values": {"items": values}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::*;
    use std::time::SystemTime;

    fn thing(arn: &str) -> Resource {
        Resource { arn: arn.into(), ..Resource::default() }
    }

    const ADDRESS: &str = "arn:aws:ec2:ap-northeast-2:123456789012:elastic-ip/eipalloc-1";
    const INSTANCE: &str = "arn:aws:ec2:ap-northeast-2:123456789012:instance/i-1";
    const ACTION: &str = "ec2:AssociateAddress";

    /// A world with an instance, whose role has a policy with this statement.
    fn world(statement: Value) -> (World, Caller) {
        let mut world = World::new(Options::default(), SystemTime::now());
        let caller = Caller::Instance(world.launch(Launch::default()));
        put(&mut world, "claim", statement);
        (world, caller)
    }

    fn put(world: &mut World, name: &str, statement: Value) {
        let document = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        world.permissions.put_role_policy("eip-claim", name, &document).unwrap();
    }

    #[test]
    fn the_first_resource_that_fails_is_named_in_the_refusal_and_in_what_it_decodes_to() {
        let (mut world, caller) =
            world(json!({"Effect": "Allow", "Action": ACTION, "Resource": "arn:aws:ec2:*:*:elastic-ip/*"}));
        world.authorize(&caller, ACTION, &[thing(ADDRESS)]).unwrap();
        let refused = world.authorize(&caller, ACTION, &[thing(ADDRESS), thing(INSTANCE)]).unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (403, "UnauthorizedOperation"));
        let (said, encoded) = refused.message.split_once(" Encoded authorization failure message: ").unwrap();
        assert!(said.contains(&format!("{ACTION} on resource: {INSTANCE} because no identity-based policy")), "{said}");
        let decoded: Value = serde_json::from_str(&world.decode(encoded).unwrap()).unwrap();
        assert_eq!((&decoded["context"]["resource"], &decoded["explicitDeny"]), (&json!(INSTANCE), &json!(false)));
    }

    #[test]
    fn an_explicit_denial_says_so_with_its_statement() {
        let (mut world, caller) = world(json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
        put(&mut world, "limits", json!({"Sid": "Hands", "Effect": "Deny", "Action": ACTION, "Resource": "*"}));
        let refused = world.authorize(&caller, ACTION, &[thing(ADDRESS)]).unwrap_err();
        assert!(refused.message.contains("with an explicit deny in an identity-based policy"), "{}", refused.message);
        let encoded = refused.message.rsplit(' ').next().unwrap();
        let decoded: Value = serde_json::from_str(&world.decode(encoded).unwrap()).unwrap();
        assert_eq!(decoded["explicitDeny"], true);
        assert_eq!(decoded["matchedStatements"]["items"][0]["statementId"], "Hands");
    }

    #[test]
    fn policies_are_those_of_the_role_and_add_up_and_replace_each_other_by_name() {
        let (mut world, caller) = world(json!({"Effect": "Allow", "Action": "ec2:A*", "Resource": "*"}));
        let may = |world: &mut World, action| world.authorize(&caller, action, &[Resource::none()]).is_ok();
        assert_eq!((may(&mut world, "ec2:A"), may(&mut world, "ec2:B")), (true, false));
        put(&mut world, "more", json!({"Effect": "Allow", "Action": "ec2:B*", "Resource": "*"}));
        assert_eq!((may(&mut world, "ec2:A"), may(&mut world, "ec2:B")), (true, true));
        put(&mut world, "claim", json!({"Effect": "Allow", "Action": "ec2:C", "Resource": "*"}));
        assert_eq!((may(&mut world, "ec2:A"), may(&mut world, "ec2:B")), (false, true));
        world.permissions.put_role_policy("eip-claim", "more", "{}").unwrap_err();
        assert!(may(&mut world, "ec2:B"), "a document that is refused changes nothing");
        world.permissions.deny(None, "ec2:B");
        assert!(!may(&mut world, "ec2:B"), "a denial counts beside policies");
    }

    #[test]
    fn a_role_without_a_policy_and_the_administrator_may_do_everything() {
        let (mut world, _) = world(json!({"Effect": "Deny", "Action": "*", "Resource": "*"}));
        let free = Launch { role: Some("other".into()), ..Launch::default() };
        let free = Caller::Instance(world.launch(free));
        for caller in [free, Caller::Administrator] {
            world.authorize(&caller, ACTION, &[thing(ADDRESS)]).unwrap();
        }
    }
}
