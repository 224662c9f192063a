//! What was sent to EC2, in the words that tests compare, and runs with time to spare or in a hurry.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fakecloud::{Allocation, Cloud, Request};

use crate::harness::{Run, command, finish, launch, run, wait_until};

/// For runs that are to succeed: long enough on a busy machine, and over as soon as the claim is.
pub const PATIENT: &[&str] = &["--timeout=30s", "--attempt-timeout=3s"];
/// For runs that are to wait in vain: a takeover would have time, and the test is short.
pub const HASTY: &[&str] = &["--timeout=3s", "--attempt-timeout=500ms"];

/// The calls of a claim of a free address.
pub const FREE: &[&str] = &["DescribeAddresses", "AssociateAddress", "DescribeAddresses"];
/// The calls of a takeover behind the fence.
pub const FENCE: &[&str] = &[
    "DescribeAddresses",
    "DescribeInstances",
    "DescribeAddresses",
    "AssociateAddress (DryRun)",
    "DisassociateAddress",
    "AssociateAddress",
    "DescribeAddresses",
];

/// Runs the binary as `instance`, with the options of both lists.
pub fn claim(cloud: &Cloud, instance: &str, time: &[&str], arguments: &[&str]) -> Run {
    run(cloud, instance, &[time, arguments].concat())
}

/// Launches an instance that was launched `ago`, and gives it the address.
pub fn held_since(cloud: &Cloud, address: &Allocation, ago: Duration) -> String {
    let holder = cloud.launch(launch(ago));
    cloud.associate(&address.allocation_id, &holder);
    holder
}

/// A folder of its own, which goes with the value.
pub struct Folder(pub PathBuf);

impl Folder {
    /// An empty one.
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("eip-claim-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        Folder(folder)
    }

    /// Writes a file in it, and returns its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file can be written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the binary as `instance` with more variables.
pub fn run_with(cloud: &Cloud, instance: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut environment = cloud.env(instance);
    environment.extend(variables.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    finish(command(&environment, arguments).spawn().expect("the binary starts"))
}

/// The parameters of a request by name, without those that every request has.
pub fn params(request: &Request) -> Vec<(&str, &str)> {
    let own = request.params.iter().filter(|(name, _)| !["Action", "Version"].contains(&name.as_str()));
    own.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The filters of a request by name, which has nothing but filters.
pub fn filters(request: &Request) -> Vec<(String, Vec<String>)> {
    let (mut filters, mut counted) = (Vec::new(), 0);
    while let Some(name) = request.params.get(&format!("Filter.{}.Name", filters.len() + 1)) {
        let prefix = format!("Filter.{}.Value.", filters.len() + 1);
        let values: Vec<String> = (1..).map_while(|n| request.params.get(&format!("{prefix}{n}")).cloned()).collect();
        counted += 1 + values.len();
        filters.push((name.clone(), values));
    }
    assert_eq!(params(request).len(), counted, "there is more in it than filters: {request:#?}");
    filters.sort();
    filters
}

/// Filters to compare with those of a request.
pub fn these(filters: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |(name, values): &(&str, &[&str])| (name.to_string(), values.iter().map(|v| v.to_string()).collect());
    let mut filters: Vec<_> = filters.iter().map(owned).collect();
    filters.sort();
    filters
}

/// Waits until `action` has arrived for the nth time.
pub fn wait_for(cloud: &Cloud, action: &str, nth: usize) {
    wait_until(&format!("{action} arrives"), || cloud.requests(action).len() >= nth);
}
