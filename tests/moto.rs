//! The real binary against moto's EC2, which we did not write; only the instance metadata is the fake cloud's.
//!
//! The world is made, and judged, by the AWS CLI. `make test` installs both.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fakecloud::{Calls, Cloud, Fault, Options};
use serde_json::{Value, json};

use crate::harness::{Run, command, finish, launch};

const REGION: &str = "ap-northeast-2";

/// A server of moto's, and what stands for the metadata service of its instances.
struct Moto {
    server: Child,
    port: u16,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// An instance of moto's.
struct Instance {
    id: String,
    interface: String,
    private_ip: String,
}

/// A program of the virtual environment that `make test` installs.
fn installed(program: &str) -> PathBuf {
    let server = std::env::var_os("MOTO_SERVER").expect("MOTO_SERVER names moto's server: run `make test`");
    PathBuf::from(server).with_file_name(program)
}

impl Moto {
    fn start() -> Moto {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let server = Command::new(installed("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server starts");
        let moto = Moto { server, port };
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "moto_server does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        moto
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `aws ec2 …` as an administrator; the answer as JSON.
    fn aws(&self, arguments: &[&str]) -> Value {
        let output = Command::new(installed("aws"))
            .args(["--endpoint-url", &self.url(), "--region", REGION, "--output", "json", "ec2"])
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", "AKIAADMINISTRATOR")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .output()
            .expect("the AWS CLI starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn run_instance(&self) -> Instance {
        let answer = self.aws(&["run-instances", "--image-id", "ami-12c6146b", "--count", "1"]);
        let instance = &answer["Instances"][0];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Instance {
            id: text(&instance["InstanceId"]),
            interface: text(&instance["NetworkInterfaces"][0]["NetworkInterfaceId"]),
            private_ip: text(&instance["PrivateIpAddress"]),
        }
    }

    fn allocate(&self, tag: &str) -> String {
        let tags = format!("ResourceType=elastic-ip,Tags=[{{Key=asg,Value={tag}}}]");
        let answer = self.aws(&["allocate-address", "--domain", "vpc", "--tag-specifications", &tags]);
        answer["AllocationId"].as_str().expect("an id").to_owned()
    }

    fn holder(&self, allocation: &str) -> String {
        let answer = self.aws(&["describe-addresses", "--allocation-ids", allocation]);
        answer["Addresses"][0]["InstanceId"].as_str().unwrap_or_default().to_owned()
    }

    /// Runs the program on `instance`.
    fn claim(&self, instance: &Instance, arguments: &[&str]) -> Run {
        let metadata = Cloud::start(Options::default());
        let stand_in = metadata.launch(launch(Duration::from_secs(3600)));
        let says = |path: &str, body: String| {
            let fault = Fault::Garbage { content_type: "text/plain".to_owned(), body: body.into_bytes() };
            metadata.fault(path, Calls::All, fault);
        };
        let document = json!({"instanceId": instance.id, "region": REGION, "availabilityZone": "ap-northeast-2a",
            "privateIp": instance.private_ip, "pendingTime": "2026-01-01T00:00:00Z"});
        says("GET /latest/dynamic/instance-identity/document", document.to_string());
        let mac = &metadata.interfaces(&stand_in)[0].mac;
        says(&format!("GET /latest/meta-data/network/interfaces/macs/{mac}/interface-id"), instance.interface.clone());
        says(&format!("GET /latest/meta-data/network/interfaces/macs/{mac}/local-ipv4s"), instance.private_ip.clone());
        let mut env: Vec<_> =
            metadata.env(&stand_in).into_iter().filter(|(name, _)| name.contains("METADATA")).collect();
        env.push(("AWS_ENDPOINT_URL".to_owned(), self.url()));
        finish(command(&env, arguments).spawn().expect("the binary starts"))
    }
}

#[test]
fn with_moto_a_free_address_is_claimed_and_then_already_held() {
    let moto = Moto::start();
    let (instance, address) = (moto.run_instance(), moto.allocate("free"));
    let first = moto.claim(&instance, &["--tag", "asg=free"]).expect(0, "claimed");
    assert_eq!(first["allocation_id"], address.as_str());
    assert_eq!(first["verified_by"], json!(["api"]));
    assert_eq!(moto.holder(&address), instance.id);
    moto.claim(&instance, &["--tag", "asg=free"]).expect(0, "already_held");
}

#[test]
fn with_moto_the_newest_instance_ends_up_with_a_single_address() {
    let moto = Moto::start();
    let (older, address) = (moto.run_instance(), moto.allocate("one"));
    moto.claim(&older, &["--tag", "asg=one"]).expect(0, "claimed");
    // EC2's launch times are to the second.
    std::thread::sleep(Duration::from_millis(1_100));
    let newer = moto.run_instance();
    let taken = moto.claim(&newer, &["--tag", "asg=one"]).expect(0, "claimed");
    assert_eq!(taken["previous_holder"]["instance_id"], older.id.as_str());
    assert_eq!(moto.holder(&address), newer.id);
    moto.claim(&older, &["--tag", "asg=one"]).expect(69, "yielded");
    assert_eq!(moto.holder(&address), newer.id);
    moto.aws(&["stop-instances", "--instance-ids", &newer.id]);
    let taken = moto.claim(&older, &["--tag", "asg=one"]).expect(0, "claimed");
    assert_eq!(taken["previous_holder"]["state"], "stopped");
    assert_eq!(moto.holder(&address), older.id);
    let forced = ["--takeover=always", "--allocation-id", &address];
    moto.claim(&newer, &forced).expect(0, "claimed");
    assert_eq!(moto.holder(&address), newer.id);
}

#[test]
fn with_moto_a_pool_is_shared_and_nothing_found_is_said_so() {
    let moto = Moto::start();
    let addresses = [moto.allocate("pool"), moto.allocate("pool")];
    let instances = [moto.run_instance(), moto.run_instance(), moto.run_instance()];
    for instance in &instances[..2] {
        moto.claim(instance, &["--tag", "asg=pool"]).expect(0, "claimed");
    }
    let mut holders = addresses.each_ref().map(|address| moto.holder(address));
    let mut expected = [instances[0].id.clone(), instances[1].id.clone()];
    holders.sort();
    expected.sort();
    assert_eq!(holders, expected);
    moto.claim(&instances[2], &["--tag", "asg=pool", "--timeout=2s"]).expect(75, "failed");
    moto.claim(&instances[2], &["--tag", "asg=nothing", "--timeout=2s"]).expect(78, "failed");
    let missing = ["--takeover=always", "--allocation-id=eipalloc-00000000000000000", "--timeout=2s"];
    moto.claim(&instances[2], &missing).expect(78, "failed");
}
