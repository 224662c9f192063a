//! Writes what the packages have beside the program into a directory: the manual page, the completions of three
//! shells, and the licences of what is linked; and what a release has beside the packages: the list of what is inside.
//!
//! The options come from the program's own definition, the exit codes from the README's table,
//! which a test holds to the program. The rest of the manual is `manual.roff`.

mod inventory;
mod licences;
mod linked;

use std::path::Path;
use std::{env, fs, io};

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate_to};
use eip_claim::cli::{Command, Options};

const NAME: &str = "eip-claim";
const README: &str = include_str!("../../README.md");
/// What the program's definition does not know: environment, files, examples, further reading.
const SECTIONS: &str = include_str!("../manual.roff");

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, directory, target] = arguments.as_slice() else {
        return Err(io::Error::other("usage: packaging DIRECTORY TARGET"));
    };
    let directory = Path::new(directory);
    fs::create_dir_all(directory)?;
    fs::write(directory.join("eip-claim.1"), manual()?)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Options::command(), NAME, directory)?;
    }
    let linked = linked::linked(target)?;
    fs::write(directory.join("third-party-licences.txt"), licences::of_third_parties(&linked, target)?)?;
    fs::write(directory.join("eip-claim.cdx.json"), inventory::of(&linked, target)?)
}

fn manual() -> io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(Options::command());
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    text.extend_from_slice(commands().as_bytes());
    text.extend_from_slice(&options(&man)?);
    text.extend_from_slice(exit_status(README)?.as_bytes());
    text.extend_from_slice(SECTIONS.as_bytes());
    Ok(text)
}

/// The options as one section, whose parts are the questions that they answer.
fn options(man: &clap_mangen::Man) -> io::Result<Vec<u8>> {
    let mut groups = Vec::new();
    man.render_options_section(&mut groups)?;
    let groups = String::from_utf8_lossy(&groups).replace("\n.SH ", "\n.SS ");
    Ok(format!(".SH OPTIONS\n{groups}").into_bytes())
}

/// What the program can do as a section of the manual.
fn commands() -> String {
    let entry = |command: &Command| {
        let value = command.to_possible_value()?;
        let help = roff(&value.get_help()?.to_string());
        Some(format!(".TP\n\\fB{}\\fR\n{help}\n", value.get_name()))
    };
    ".SH COMMANDS\n".to_owned() + &Command::value_variants().iter().filter_map(entry).collect::<String>()
}

/// The README's table of exit codes as a section of the manual.
fn exit_status(readme: &str) -> io::Result<String> {
    let mut section = ".SH \"EXIT STATUS\"\n".to_owned();
    let mut is_empty = true;
    for row in readme.lines().skip_while(|line| !line.starts_with("| exit |")).skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let &[_, code, name, when, _] = cells.as_slice() else { break };
        section += &format!(".TP\n\\fB{code}\\fR ({name})\n{}\n", roff(when));
        is_empty = false;
    }
    if is_empty { Err(io::Error::other("the README has no table of exit codes")) } else { Ok(section) }
}

/// A sentence of Markdown as text of roff.
fn roff(text: &str) -> String {
    let mut sentence = text.replace('`', "").replace('\\', "\\e").replace('-', "\\-");
    if let Some(first) = sentence.get(..1).map(str::to_uppercase) {
        sentence.replace_range(..1, &first);
    }
    sentence + "."
}
