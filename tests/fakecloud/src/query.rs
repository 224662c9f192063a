//! What the query protocols of EC2, STS and Auto Scaling have in common: a form with an action in
//! it, a signature, and answers and errors in XML.

use crate::iam::Caller;
use crate::types::Service;
use crate::world::{ApiError, World, scramble};
use crate::xml::Xml;
use crate::{autoscaling, ec2, sts};
use std::collections::BTreeMap;

/// A request of any service, read.
pub(crate) struct Call {
    pub(crate) service: Service,
    /// As requests are logged and faults are set.
    pub(crate) action: String,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) instance: Option<String>,
}

/// An answer of any service, to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) error_code: Option<String>,
    pub(crate) committed: bool,
    pub(crate) remap: bool,
}

/// A query whose caller is known.
pub(crate) struct Query<'a> {
    pub(crate) action: &'a str,
    pub(crate) params: &'a BTreeMap<String, String>,
    pub(crate) caller: &'a Caller,
    pub(crate) request_id: &'a str,
}

/// What a query came to.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) xml: String,
    pub(crate) committed: bool,
    pub(crate) remap: bool,
}

impl Done {
    /// The answer of something that only reads.
    pub(crate) fn read(xml: String) -> Done {
        Done { xml, ..Done::default() }
    }
}

impl Query<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub(crate) fn need(&self, name: &str) -> Result<&str, ApiError> {
        let text = || format!("The request must contain the parameter {name}");
        self.get(name).ok_or_else(|| ApiError::bad("MissingParameter", text()))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                let text = format!("Invalid value '{other}' for {name}. Must be true or false");
                Err(ApiError::bad("InvalidParameterValue", text))
            }
        }
    }
}

/// Reads a form, of a body or of what follows a `?`.
pub(crate) fn form(text: &[u8]) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned()))
}

/// Carries a query out.
pub(crate) fn answer(world: &mut World, call: &Call) -> Answer {
    let request_id = request_id(world);
    let result = world.authenticate(call.service, &call.headers).and_then(|caller| {
        let query = Query { action: &call.action, params: &call.params, caller: &caller, request_id: &request_id };
        match call.service {
            Service::Ec2 => ec2::run(world, &query),
            Service::Sts => sts::run(world, &query),
            Service::AutoScaling => autoscaling::run(world, &query),
            Service::Imds => unreachable!("the metadata service takes no queries"),
        }
    });
    match result {
        Ok(done) => Answer {
            status: 200,
            headers: headers(&request_id),
            body: done.xml.into_bytes(),
            error_code: None,
            committed: done.committed,
            remap: done.remap,
        },
        Err(error) => failed(call.service, &error, &request_id),
    }
}

/// An error in the form of its service, with a request id of its own.
pub(crate) fn error(world: &mut World, service: Service, error: &ApiError) -> Answer {
    failed(service, error, &request_id(world))
}

fn failed(service: Service, error: &ApiError, request_id: &str) -> Answer {
    let ApiError { status, code, message } = error;
    let inside = |xml: &mut Xml| {
        xml.value("Code", code);
        xml.value("Message", message);
    };
    let body = match service {
        Service::Imds => message.clone(),
        Service::Ec2 => Xml::document("Response", "", |xml| {
            xml.nest("Errors", |xml| xml.nest("Error", inside));
            xml.value("RequestID", request_id);
        }),
        Service::Sts | Service::AutoScaling => Xml::document("ErrorResponse", namespace(service), |xml| {
            xml.nest("Error", |xml| {
                xml.value("Type", if *status < 500 { "Sender" } else { "Receiver" });
                inside(xml);
            });
            xml.value("RequestId", request_id);
        }),
    };
    Answer {
        status: *status,
        headers: headers(request_id),
        body: body.into_bytes(),
        error_code: Some(code.clone()),
        ..Answer::default()
    }
}

/// The answer of STS and Auto Scaling.
pub(crate) fn respond(service: Service, query: &Query, inside: impl FnOnce(&mut Xml)) -> String {
    Xml::document(&format!("{}Response", query.action), namespace(service), |xml| {
        xml.nest(&format!("{}Result", query.action), inside);
        xml.nest("ResponseMetadata", |xml| xml.value("RequestId", query.request_id));
    })
}

fn namespace(service: Service) -> &'static str {
    match service {
        Service::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        Service::AutoScaling => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
        Service::Ec2 | Service::Imds => "http://ec2.amazonaws.com/doc/2016-11-15/",
    }
}

fn headers(request_id: &str) -> Vec<(&'static str, String)> {
    vec![("content-type", "text/xml;charset=UTF-8".into()), ("x-amzn-requestid", request_id.into())]
}

fn request_id(world: &mut World) -> String {
    let n = world.count("request");
    let (a, b) = (scramble(n << 1), scramble(n << 1 | 1));
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xffff, b >> 48, b & 0xffff_ffff_ffff)
}

/// An action that the service does not have.
pub(crate) fn invalid_action(query: &Query) -> ApiError {
    ApiError::bad("InvalidAction", format!("The action {} is not valid for this web service.", query.action))
}
