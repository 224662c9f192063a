//! The egress proof: what the internet sees must be the address.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fakecloud::{Allocation, Cloud};

use crate::harness::*;
use crate::requests::{HASTY, PATIENT, held_since, run_with};

/// A page that answers in turn as it was told, the last answer for ever, and notes what it was asked.
struct Page {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Page {
    fn new(answers: &[&str]) -> Page {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let port = listener.local_addr().expect("it is bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, mut answers) = (asked.clone(), answers.iter().map(ToString::to_string).collect::<VecDeque<_>>());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
                let head = read_head(&stream);
                noted.lock().expect("nobody panics with it").push(head);
                let answer = answer.expect("there is one");
                std::thread::spawn(move || give(stream, &answer));
            }
        });
        Page { port, asked }
    }

    fn url(&self) -> String {
        format!("http://localhost:{}/ip", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

fn read_head(mut stream: &TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// `hang` never answers, `reset` closes; all else is a body, with the status that precedes it, if one does.
fn give(mut stream: TcpStream, answer: &str) {
    match answer {
        "hang" => std::thread::sleep(Duration::from_secs(60)),
        "reset" => {}
        _ => {
            let (status, body) = answer.split_once('|').unwrap_or(("200 OK", answer));
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    }
}

fn verified(cloud: &Cloud, instance: &str, page: &Page, time: &[&str]) -> Run {
    run(cloud, instance, &[time, &["--tag=asg", &format!("--verify-egress={}", page.url())]].concat())
}

fn ip(address: &Allocation) -> String {
    address.public_ip.to_string()
}

#[test]
fn the_page_is_asked_once_after_the_claim_is_proven_and_is_a_witness() {
    let (cloud, address, me) = one_of_each();
    let page = Page::new(&[&format!("{}\n", ip(&address))]);
    let result = verified(&cloud, &me, &page, PATIENT).expect(0, "claimed");
    assert_eq!(result["verified_by"], serde_json::json!(["api", "egress"]));
    let asked = page.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("GET /ip HTTP/1.1\r\n"), "{asked:?}");
    let head = asked[0].to_ascii_lowercase();
    assert!(head.contains(&format!("host: localhost:{}\r\n", page.port)), "{asked:?}");
    assert!(!head.contains("authorization") && !head.contains("token"), "{asked:?}");
    // What is held already is proven as well, and nothing is written for it.
    let result = verified(&cloud, &me, &page, PATIENT).expect(0, "already_held");
    assert_eq!(result["verified_by"], serde_json::json!(["api", "egress"]));
    assert_eq!((page.asked().len(), writes(&cloud).len()), (2, 1));
}

#[test]
fn without_the_option_and_where_nothing_is_held_the_page_is_not_asked() {
    let (cloud, address, me) = one_of_each();
    let page = Page::new(&[&ip(&address)]);
    cloud.set_lifecycle(&me, Some("Standby"));
    verified(&cloud, &me, &page, HASTY).expect(0, "skipped");
    cloud.set_lifecycle(&me, Some("InService"));
    let result = run(&cloud, &me, &["--tag=asg"]).expect(0, "claimed");
    assert_eq!(result["verified_by"], serde_json::json!(["api"]));
    held_since(&cloud, &address, OLD / 2);
    verified(&cloud, &me, &page, HASTY).expect(69, "yielded");
    assert_eq!(page.asked().len(), 0);
}

#[test]
fn a_wrong_answer_is_asked_again_and_a_right_one_ends_it() {
    let (cloud, address, me) = one_of_each();
    let right = ip(&address);
    let answers = ["198.51.100.9", "reset", "503 Service Unavailable|", "200 OK|<html>", "2001:db8::1", &right];
    let page = Page::new(&answers);
    let result = verified(&cloud, &me, &page, PATIENT).expect(0, "claimed");
    assert_eq!(result["verified_by"], serde_json::json!(["api", "egress"]));
    assert_eq!((page.asked().len(), writes(&cloud).len()), (6, 1));
}

#[test]
fn what_does_not_come_right_until_the_deadline_is_a_failure_that_says_what_was_seen() {
    let rows = [
        ("198.51.100.9", "EgressMismatch", "sees this instance as 198.51.100.9, not as "),
        ("2001:db8::1", "EgressMismatch", "sees this instance as 2001:db8::1, not as "),
        ("<html>a portal</html>", "EgressNonsense", "no address: `<html>a portal</html>`"),
        ("503 Down|203.0.113.1", "EgressNonsense", "HTTP status 503"),
        ("", "EgressNonsense", "HTTP status 200 and no address"),
        ("reset", "EgressUnreachable", "no answer from "),
        ("hang", "EgressTimeout", "did not answer within 500ms"),
    ];
    each(rows, |(answer, code, says)| {
        let (cloud, address, me) = one_of_each();
        let page = Page::new(&[answer]);
        let run = verified(&cloud, &me, &page, HASTY);
        let result = run.expect(75, "failed");
        assert_eq!(run.error("code"), code, "{answer}: {run:#?}");
        let message = run.error("message");
        assert!(message.contains(says) && message.contains(&page.url()), "{answer}: {message}");
        assert!(
            run.error("remedy").contains("--verify-egress") || run.error("remedy").contains(&page.url()),
            "{run:#?}"
        );
        assert!(page.asked().len() >= 2, "{answer}: it was asked again");
        assert!(run.took < Duration::from_secs(5), "{answer}: {:?}", run.took);
        // It is held all the same, and the result says by whom that is proven.
        assert_eq!(holder(&cloud, &address), Some(me), "{answer}");
        assert_eq!(result["verified_by"], serde_json::json!(["api"]), "{answer}");
        assert_eq!(result["public_ip"], ip(&address), "{answer}");
        assert_eq!(writes(&cloud).len(), 1, "{answer}");
    });
}

#[test]
fn a_page_without_an_end_costs_no_memory() {
    let (cloud, _, me) = one_of_each();
    let page = Page::new(&[&"1".repeat(1 << 20)]);
    let run = verified(&cloud, &me, &page, HASTY);
    run.expect(75, "failed");
    assert!(run.stdout.len() < 5_000 && run.stderr.len() < 50_000, "{} {}", run.stdout.len(), run.stderr.len());
}

#[test]
fn no_proxy_is_ever_in_between() {
    let (cloud, address, me) = one_of_each();
    let (page, proxy) = (Page::new(&[&ip(&address)]), Page::new(&["502 Bad Gateway|"]));
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let mut variables = names.map(|name| (name, url.as_str())).to_vec();
    // The fake AWS is on this address, the page on a name.
    variables.push(("NO_PROXY", "127.0.0.1"));
    let option = format!("--verify-egress={}", page.url());
    run_with(&cloud, &me, &variables, &[PATIENT, &["--tag=asg", &option]].concat()).expect(0, "claimed");
    assert_eq!((page.asked().len(), proxy.asked()), (1, Vec::new()));
}

#[test]
fn the_proof_can_be_asked_for_by_a_variable() {
    let (cloud, address, me) = one_of_each();
    let page = Page::new(&[&ip(&address)]);
    let url = page.url();
    for (value, egress) in [(url.as_str(), true), ("false", false), ("off", false), ("", false)] {
        let variables = [("EIP_CLAIM_VERIFY_EGRESS", value), ("EIP_CLAIM_TAG", "asg")];
        let run = run_with(&cloud, &me, &variables, PATIENT);
        let witnesses = run.json()["verified_by"].as_array().map_or(0, Vec::len);
        assert_eq!((run.exit, witnesses), (0, 1 + usize::from(egress)), "{value}: {run:#?}");
    }
    let bad = run_with(&cloud, &me, &[("EIP_CLAIM_VERIFY_EGRESS", "checkip")], &[]);
    assert_eq!(bad.exit, 64, "{bad:#?}");
    assert!(bad.stderr.contains("EIP_CLAIM_VERIFY_EGRESS in the environment"), "{bad:#?}");
}

#[test]
fn an_address_that_was_claimed_without_a_look_is_proven_by_what_imds_shows() {
    let (cloud, address, me) = one_of_each();
    cloud.deny(Some(&me), "ec2:DescribeAddresses");
    let page = Page::new(&[&ip(&address)]);
    let options = [format!("--allocation-id={}", address.allocation_id), format!("--verify-egress={}", page.url())];
    let run = run(&cloud, &me, &[PATIENT, &["--takeover=always", &options[0], &options[1]]].concat());
    let result = run.expect(0, "claimed");
    assert_eq!(result["verified_by"], serde_json::json!(["imds", "egress"]));
    assert_eq!(result["public_ip"], ip(&address));
}
