//! EC2 and STS, answered for by something that is neither: a portal, a proxy, an endpoint of somebody else.

use fakecloud::{Allocation, Calls, Cloud, Fault, Flow, Options};

use super::hostile::{Kind, every_pair, measured};
use crate::fence::{Succession, succession};
use crate::harness::*;

/// An answer is cut off at 16 MiB, of which the connection and the body may hold a copy each.
const MEMORY: u64 = 56 << 10;

/// The calls, each in a world in which it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Look,
    Write,
    Holders,
    Trial,
    Disassociation,
    Tags,
    Decode,
}

const CALLS: [Call; 7] =
    [Call::Look, Call::Write, Call::Holders, Call::Trial, Call::Disassociation, Call::Tags, Call::Decode];

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// With status 200, as IMDS is answered for.
    Like(Kind),
    /// A page with 503.
    Page503,
    /// XML, but no answer.
    OtherRoot,
    /// The beginning of an answer, as long as its header says.
    Half,
    /// Elements in elements, a hundred thousand deep.
    Nested,
    /// Entities that would unfold to gigabytes.
    Bomb,
    /// An error in the form of EC2, but with status 200.
    ErrorWith200,
    /// An error whose message is a megabyte.
    LongMessage,
    /// An error whose message steers a terminal and has lines of its own.
    Controls,
    /// An error whose code is a megabyte.
    LongCode,
    /// An error about the clock of this instance, at the end of the times that can be written.
    Late,
    /// The same, at their beginning.
    Early,
}

const ANSWERS: [Answer; 19] = {
    use Answer::*;
    [
        Like(Kind::Empty),
        Like(Kind::Whitespace),
        Like(Kind::Page),
        Like(Kind::NotUtf8),
        Like(Kind::Huge),
        Like(Kind::Endless),
        Like(Kind::Cut),
        Like(Kind::Trickle),
        Page503,
        OtherRoot,
        Half,
        Nested,
        Bomb,
        ErrorWith200,
        LongMessage,
        Controls,
        LongCode,
        Late,
        Early,
    ]
};

impl Answer {
    fn fault(self, action: &str) -> Fault {
        let raw = |status, body: String| Fault::Raw {
            done: false,
            status,
            headers: vec![],
            body: body.into(),
            flow: Flow::Whole,
        };
        let error = |code: &str, message: &str| {
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
            )
        };
        let megabyte = "a".repeat(1 << 20);
        match self {
            Answer::Like(kind) => kind.fault(Vec::new()),
            Answer::Page503 => raw(503, "<html><body>the portal is closed</body></html>".into()),
            Answer::OtherRoot => raw(200, "<?xml version=\"1.0\"?><Other><return>true</return></Other>".into()),
            Answer::Half => {
                raw(200, format!("<{action}Response><requestId>1</requestId><addressesSet><item><publicIp>203."))
            }
            Answer::Nested => raw(200, format!("<{action}Response>{}", "<a>".repeat(100_000))),
            Answer::Bomb => raw(
                200,
                format!(
                    "<!DOCTYPE a [<!ENTITY a \"{}\"><!ENTITY b \"{}\">]><{action}Response><requestId>{}</requestId></{action}Response>",
                    "a".repeat(10_000),
                    "&a;".repeat(10_000),
                    "&b;".repeat(10_000)
                ),
            ),
            Answer::ErrorWith200 => raw(200, error("InternalError", "it is not well")),
            Answer::LongMessage => raw(418, error("Teapot", &megabyte)),
            Answer::Controls => raw(418, error("Teapot", "one&#10;two&#13;&#27;[2Jthree")),
            Answer::LongCode => raw(418, error(&megabyte, "a long code")),
            Answer::Late | Answer::Early => {
                let year = if self == Answer::Late {
                    "Fri, 31 Dec 9999 23:59:59 GMT"
                } else {
                    "Thu, 01 Jan 1970 00:00:00 GMT"
                };
                let body = error("RequestExpired", "Request has expired.").into();
                Fault::Raw { done: false, status: 400, headers: vec![("date", year.into())], body, flow: Flow::Whole }
            }
        }
    }
}

/// The exit code that the contract has for it, and why.
fn exit(call: Call, answer: Answer) -> i32 {
    match answer {
        // A failing explanation never hides what it was to explain.
        _ if call == Call::Decode => 77,
        // A server error, or no whole answer: it may go away.
        Answer::Page503 | Answer::Like(Kind::Cut | Kind::Trickle) => 75,
        // An address that may be on nobody comes before all else: the run goes on to associate it, and EC2 then says
        // that it is where it was.
        Answer::ErrorWith200 | Answer::OtherRoot | Answer::Like(_) if call == Call::Disassociation => 75,
        // The beginning of an answer must not be taken for all of it; the rest may come next time.
        Answer::Half | Answer::Nested => 75,
        // An answer, though an empty one: no address, no holder (yet), no tag, nothing done.
        Answer::Bomb => match call {
            Call::Look | Call::Tags => 78,
            Call::Holders => 69,
            Call::Write | Call::Disassociation => 75,
            Call::Trial | Call::Decode => 70,
        },
        // An error of EC2, however odd, whose code is not known.
        Answer::LongMessage | Answer::Controls | Answer::LongCode => 78,
        // The SDK corrects the clock by what it is told; that AWS accepts no request then is a matter of credentials.
        Answer::Late | Answer::Early => 77,
        _ => 70,
    }
}

/// A world in which the call is made, the call, and the options.
fn world(call: Call) -> (Cloud, Allocation, Option<String>, String, &'static str, &'static str) {
    match call {
        Call::Look | Call::Write | Call::Decode | Call::Tags => {
            let (cloud, address, me) = one_of_each();
            let (action, option) = match call {
                Call::Look => ("DescribeAddresses", "--tag=asg=test"),
                Call::Write => ("AssociateAddress", "--tag=asg=test"),
                Call::Tags => ("DescribeTags", "--tag=asg"),
                _ => ("DecodeAuthorizationMessage", "--tag=asg=test"),
            };
            (cloud, address, None, me, action, option)
        }
        Call::Holders | Call::Trial | Call::Disassociation => {
            let Succession { cloud, address, holder, me, .. } = succession(Options::default());
            let action = match call {
                Call::Holders => "DescribeInstances",
                Call::Trial => "AssociateAddress",
                _ => "DisassociateAddress",
            };
            (cloud, address, Some(holder), me, action, "--tag=asg=test")
        }
    }
}

fn hostile(call: Call, answer: Answer) -> u64 {
    let row = format!("{call:?} {answer:?}");
    let (cloud, address, before, me, action, option) = world(call);
    match call {
        Call::Decode => cloud.deny(Some(&me), "ec2:AssociateAddress"),
        Call::Tags => drop(cloud.fault(
            "GET /latest/meta-data/tags/",
            Calls::All,
            Fault::Status { code: 404, body: String::new() },
        )),
        _ => {}
    }
    cloud.fault(action, Calls::All, answer.fault(action));
    let measured = measured(&cloud, &me, &[option, "--attempt-timeout=500ms"]);
    measured.is_sound(&row, &cloud, MEMORY);
    let run = &measured.run;
    assert!(!cloud.requests(action).is_empty(), "{row}: the call is made");
    let exit = exit(call, answer);
    let outcome = if exit == 69 { "yielded" } else { "failed" };
    assert_eq!(ended(run), (exit, outcome.to_owned()), "{row}: {run:#?}");
    assert!(!run.error("code").is_empty() && !run.error("remedy").is_empty(), "{row}: {run:#?}");
    // A disassociation that was not done is told by the association that is refused after it.
    let action = if call == Call::Disassociation && exit == 75 { "AssociateAddress" } else { action };
    // What an empty answer leads to is said in other words.
    let named = if call == Call::Decode { "AssociateAddress" } else { action };
    // A clock that was corrected by centuries spoils the next call, whichever it is.
    let is_other = matches!(answer, Answer::Bomb | Answer::Late | Answer::Early);
    let is_named = is_other || run.error("message").contains(named);
    assert!(is_named, "the message names {named}: {row}: {run:#?}");
    // Nothing was carried out, so nothing has changed hands, whatever was answered.
    assert_eq!(holder(&cloud, &address), before, "{row}");
    measured.peak
}

/// The whole table is 133 rows; the short size takes every third row, in diagonals.
#[test]
fn whatever_answers_in_place_of_ec2_the_run_ends_as_documented_in_time_and_in_bounded_memory() {
    every_pair("EC2 and STS", &CALLS, &ANSWERS, hostile);
}

/// The same answers to a write that was carried out.
fn done(answer: Answer, action: &str) -> Fault {
    match answer.fault(action) {
        Fault::Raw { status, headers, body, flow, .. } => Fault::Raw { done: true, status, headers, body, flow },
        other => other,
    }
}

const LOST: [Answer; 7] = {
    use Answer::*;
    [Like(Kind::Empty), Like(Kind::Page), Like(Kind::NotUtf8), Like(Kind::Huge), Like(Kind::Cut), OtherRoot, Half]
};

#[test]
fn a_write_that_was_done_and_whose_answer_makes_no_sense_is_found_by_a_look() {
    let rows = LOST.iter().flat_map(|answer| [(Call::Write, *answer), (Call::Disassociation, *answer)]);
    each(rows, |(call, answer)| {
        let row = format!("{call:?} {answer:?}");
        let (cloud, address, _, me, action, option) = world(call);
        cloud.fault(action, Calls::Nth(1), done(answer, action));
        let run = run(&cloud, &me, &[option, "--timeout=30s", "--attempt-timeout=3s"]);
        assert_eq!(ended(&run), (0, "claimed".to_owned()), "{row}: {run:#?}");
        assert_eq!(holder(&cloud, &address), Some(me), "{row}");
        assert_eq!(cloud.requests(action).iter().filter(|r| r.committed).count(), 1, "{row}: {:?}", sent(&cloud));
    });
}

#[test]
fn an_address_that_was_left_on_nobody_is_named_however_its_disassociation_was_answered() {
    each(LOST, |answer| {
        let (cloud, address, _, me, action, option) = world(Call::Disassociation);
        cloud.fault(action, Calls::Nth(1), done(answer, action));
        // The first one is the trial.
        cloud.fault("AssociateAddress", Calls::From(2), Fault::Reset);
        let run = run(&cloud, &me, &[option, "--timeout=3s", "--attempt-timeout=500ms"]);
        assert_eq!(ended(&run), (75, "failed".to_owned()), "{answer:?}: {run:#?}");
        let message = run.error("message");
        let is_named = message.contains(&address.public_ip.to_string()) && message.contains("may be unassociated");
        assert!(is_named, "{answer:?}: {run:#?}");
        assert_eq!(holder(&cloud, &address), None, "{answer:?}");
    });
}
