//! The words for failures: those of the documentation are those of the program.

use eip_claim::classify::{EXPLAINED, remedy};
use eip_claim::error::{Class, Exit};

use crate::harness::*;
use crate::requests::HASTY;

const DOCS: &str = include_str!("../docs/exit-codes.md");
const README: &str = include_str!("../README.md");

/// The rows of the table whose header begins so.
fn rows(text: &str, header: &str) -> Vec<Vec<String>> {
    let table = text.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    table.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn every_exit_code_is_told_in_the_words_of_the_program() {
    let expected: Vec<_> =
        Exit::ALL.map(|exit| vec![(exit as u8).to_string(), exit.name().to_owned(), exit.meaning().to_owned()]).into();
    assert_eq!(rows(README, "| exit | systemd shows | when |"), expected);
    assert_eq!(rows(DOCS, "| exit | systemd shows | when |"), expected);
}

#[test]
fn every_class_is_told_in_the_words_of_the_program() {
    let row = |class: Class| {
        let exit = (class.exit() as u8).to_string();
        vec![class.name().to_owned(), exit, class.meaning().to_owned(), remedy(class, "").to_owned()]
    };
    assert_eq!(rows(DOCS, "| class | exit | what happened"), Class::ALL.map(row));
}

#[test]
fn every_code_with_a_remedy_of_its_own_is_told_in_the_words_of_the_program() {
    let row = |(class, code): &(Class, &str)| {
        assert_ne!(remedy(*class, code), remedy(*class, ""), "{code} has no remedy of its own");
        vec![format!("`{code}`"), class.name().to_owned(), remedy(*class, code).to_owned()]
    };
    assert_eq!(rows(DOCS, "| code | class | what to do |"), EXPLAINED.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn a_failure_says_in_the_log_what_happened_why_and_what_to_do() {
    let (cloud, _, me) = one_of_each();
    let run = run(&cloud, &me, &[HASTY, &["--tag=asg=none"]].concat());
    run.expect(78, "failed");
    let class = Class::NotVisible;
    for words in [class.meaning(), class.exit().meaning(), remedy(class, ""), "no address tagged asg=none"] {
        assert!(run.stderr.contains(words), "{words}: {run:#?}");
    }
}
