//! The statement that a role's policy lacks, ready to be added to it.

use crate::classify::is_about_credentials;
use crate::error::{Class, Error};
use crate::ids::AllocationId;

/// `error`, with the statement that allows `action` on `resources` as its remedy, if it says that IAM does not.
pub(crate) fn lacking(error: Error, action: &str, resources: &[String]) -> Error {
    if error.class != Class::Denied || is_about_credentials(&error.code) {
        return error;
    }
    error.advise(format!("add to the policy of the instance's role: {}", statement(action, resources)))
}

/// The statement of a policy that allows `action`, on everything if it knows no `resources`.
pub(crate) fn statement(action: &str, resources: &[String]) -> String {
    let resource = match resources {
        [] => "\"*\"".to_owned(),
        some => format!("[\"{}\"]", some.join("\",\"")),
    };
    format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":{resource}}}"#)
}

/// What AssociateAddress needs permission on: the address, the instance, and the interface where one is named.
pub(crate) fn of_association(region: &str, address: &AllocationId) -> Vec<String> {
    let address = format!("elastic-ip/{address}");
    [&address, "instance/*", "network-interface/*"].map(|resource| arn(region, resource)).to_vec()
}

/// What DisassociateAddress needs permission on: the address, and the interface that has it.
pub(crate) fn of_disassociation(region: &str, address: &AllocationId) -> Vec<String> {
    let address = format!("elastic-ip/{address}");
    [&address, "network-interface/*"].map(|resource| arn(region, resource)).to_vec()
}

/// In any account: there is none but this role's own in which it could do anything.
fn arn(region: &str, resource: &str) -> String {
    let partition = match region.split('-').next() {
        Some("cn") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    format!("arn:{partition}:ec2:{region}:*:{resource}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_json_that_allows_the_action_on_the_resources() {
        let id: AllocationId = "eipalloc-1".parse().expect("an id");
        for resources in [Vec::new(), of_disassociation("cn-north-1", &id), of_association("us-gov-west-1", &id)] {
            let denied = Error::new(Class::Denied, "UnauthorizedOperation", "no");
            let remedy = lacking(denied, "ec2:DescribeAddresses", &resources).remedy();
            let (_, statement) = remedy.split_once(": ").expect("words, and the statement");
            let statement: serde_json::Value = serde_json::from_str(statement).expect("it is JSON");
            assert_eq!(
                (statement["Effect"].as_str(), statement["Action"].as_str()),
                (Some("Allow"), Some("ec2:DescribeAddresses"))
            );
            let expected = match resources.len() {
                0 => serde_json::json!("*"),
                2 => serde_json::json!([
                    "arn:aws-cn:ec2:cn-north-1:*:elastic-ip/eipalloc-1",
                    "arn:aws-cn:ec2:cn-north-1:*:network-interface/*",
                ]),
                _ => serde_json::json!([
                    "arn:aws-us-gov:ec2:us-gov-west-1:*:elastic-ip/eipalloc-1",
                    "arn:aws-us-gov:ec2:us-gov-west-1:*:instance/*",
                    "arn:aws-us-gov:ec2:us-gov-west-1:*:network-interface/*",
                ]),
            };
            assert_eq!(statement["Resource"], expected);
        }
    }

    #[test]
    fn what_is_no_matter_of_a_policy_keeps_its_remedy() {
        for (class, code) in [(Class::Denied, "AuthFailure"), (Class::Transient, "InternalError")] {
            let error = Error::new(class, code, "no");
            assert_eq!(lacking(error.clone(), "ec2:DescribeAddresses", &[]), error);
        }
    }
}
