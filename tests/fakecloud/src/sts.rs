//! STS, as far as an instance asks it: who am I, and why was I refused.

use crate::policies::Resource;
use crate::query::{Done, Query, invalid_action, respond};
use crate::types::Service;
use crate::world::{ApiError, World};

/// The longest message that STS decodes.
const LONGEST: usize = 10_240;

pub(crate) fn run(world: &mut World, query: &Query) -> Result<Done, ApiError> {
    match query.action {
        "GetCallerIdentity" => {
            let (arn, id) = world.principal(query.caller);
            Ok(Done::read(respond(Service::Sts, query, |xml| {
                xml.value("Arn", arn);
                xml.value("UserId", id);
                xml.value("Account", &world.options.account);
            })))
        }
        "DecodeAuthorizationMessage" => {
            world.authorize(query.caller, "sts:DecodeAuthorizationMessage", &[Resource::none()])?;
            let encoded = query.need("EncodedMessage")?;
            if encoded.len() > LONGEST {
                let text = format!("Value at 'encodedMessage' must have length less than or equal to {LONGEST}");
                return Err(ApiError::bad("ValidationError", text));
            }
            let decoded = world.decode(encoded)?;
            Ok(Done::read(respond(Service::Sts, query, |xml| xml.value("DecodedMessage", decoded))))
        }
        _ => Err(invalid_action(query)),
    }
}
