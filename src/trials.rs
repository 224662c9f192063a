//! Calls that change nothing and show what this instance may do: EC2's own `DryRun`, and where there is none,
//! a call that cannot do anything.

use aws_sdk_ec2::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};

use crate::cloud::Cloud;
use crate::endpoints;
use crate::error::{Class, Error};
use crate::ids::AssociationId;

/// An association that no address has: what matters is whether EC2 refuses it for the permission.
const NOBODYS_ASSOCIATION: &str = "eipassoc-00000000000000000";

impl Cloud {
    /// Whether this instance may look at others.
    pub(crate) async fn may_describe_instances(&self) -> Result<(), Error> {
        let request = self.ec2.describe_instances().dry_run(true);
        allowed(self.attempts.call("DescribeInstances (DryRun)", request.send()).await.map(|_| ()))
    }

    /// Whether this instance may look at the health of others.
    pub(crate) async fn may_describe_status(&self) -> Result<(), Error> {
        let request = self.ec2.describe_instance_status().dry_run(true);
        allowed(self.attempts.call("DescribeInstanceStatus (DryRun)", request.send()).await.map(|_| ()))
    }

    /// Whether this instance may end `association`, or where none is named, any.
    pub(crate) async fn may_disassociate(&self, association: Option<&AssociationId>) -> Result<(), Error> {
        let id = association.map_or(NOBODYS_ASSOCIATION, AssociationId::as_str);
        let request = self.ec2.disassociate_address().association_id(id).dry_run(true);
        allowed(self.attempts.call("DisassociateAddress (DryRun)", request.send()).await.map(|_| ()))
    }

    /// As whom AWS knows this instance (GetCallerIdentity), for which nobody needs a permission.
    pub(crate) async fn caller(&self) -> Result<String, Error> {
        let answer = self.attempts.call("GetCallerIdentity", self.sts.get_caller_identity().send()).await?;
        Ok(answer.arn().unwrap_or("unknown").to_owned())
    }

    /// Whether this instance may have EC2's explanations decoded: STS says so of a text that is none.
    pub(crate) async fn may_decode(&self) -> Result<(), Error> {
        match self.decode("none").await {
            Err(error) if error.code == "InvalidAuthorizationMessageException" => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Where the EC2 API is, as a URL.
    pub(crate) async fn endpoint(&self) -> Result<String, Error> {
        if let Some(url) = endpoints::url("AWS_ENDPOINT_URL_EC2") {
            return Ok(url);
        }
        let nowhere = |why: String| Error::new(Class::Fatal, "NoEndpoint", format!("EC2 has no endpoint here: {why}"));
        let params = Params::builder()
            .set_region(self.ec2.config().region().map(ToString::to_string))
            .use_fips(endpoints::is_on("AWS_USE_FIPS_ENDPOINT"))
            .use_dual_stack(endpoints::is_on("AWS_USE_DUALSTACK_ENDPOINT"))
            .build()
            .map_err(|error| nowhere(error.to_string()))?;
        let found = DefaultResolver::new().resolve_endpoint(&params).await;
        found.map(|endpoint| endpoint.url().to_owned()).map_err(|error| nowhere(error.to_string()))
    }
}

/// EC2 judges the permission first: any other refusal shows that there is one.
fn allowed(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Ok(()) => Err(Error::new(Class::Nonsense, "DryRunIgnored", "EC2 did not answer a DryRun as one")),
        Err(error) => match error.class {
            Class::Denied | Class::Transient | Class::Throttled | Class::NotYet | Class::Nonsense => Err(error),
            _ => Ok(()),
        },
    }
}
