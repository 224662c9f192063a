//! The fake region over its sockets: every fault, outages, tokens and signatures, by a client that
//! writes its own HTTP and so sees exactly what comes back.

use fakecloud::*;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

/// How long an answer that never comes is waited for.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long any other is, on a machine that is busy.
const LONG: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Client(stream)
    }

    /// For what is not to be answered.
    fn impatient(self) -> Client {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        self
    }

    fn send(&mut self, request: &str) -> std::io::Result<Reply> {
        self.0.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(reply) = whole(&bytes) {
                return Ok(reply);
            }
            match self.0.read(&mut piece)? {
                0 => return Err(std::io::Error::new(ErrorKind::UnexpectedEof, String::from_utf8_lossy(&bytes))),
                n => bytes.extend_from_slice(&piece[..n]),
            }
        }
    }
}

fn whole(bytes: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let length: usize = head.split_once("content-length: ")?.1.lines().next()?.parse().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (body.len() >= length).then(|| Reply { status, head: head.clone(), body: body.into() })
}

/// A request with a signature of the right form, by an instance's key as its metadata service has it.
fn query(key: &Key, form: &str) -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date: String = now.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    dated(key, form, &date)
}

fn dated(key: &Key, form: &str, date: &str) -> String {
    let (access, token) = (&key.access, &key.token);
    let day = &date[..8];
    let signature = "0".repeat(64);
    format!(
        "POST / HTTP/1.1\r\nHost: fake\r\nX-Amz-Date: {date}\r\nX-Amz-Security-Token: {token}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={access}/{day}/ap-northeast-2/ec2/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-security-token, Signature={signature}\r\n\r\n{form}",
        length = form.len(),
    )
}

struct Key {
    access: String,
    token: String,
}

fn key(cloud: &Cloud, instance: &str) -> Key {
    let mut client = Client::new(cloud.imds_endpoint(instance));
    let token = imds_token(&mut client);
    let document = get(&mut client, &token, "/latest/meta-data/iam/security-credentials/eip-claim").body;
    let value = |name: &str| {
        let rest = document.split_once(&format!("\"{name}\": \"")).unwrap().1;
        rest.split('"').next().unwrap().to_string()
    };
    Key { access: value("AccessKeyId"), token: value("Token") }
}

fn imds_token(client: &mut Client) -> String {
    let put = "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";
    client.send(put).unwrap().body
}

fn get(client: &mut Client, token: &str, path: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n");
    client.send(&request).unwrap()
}

struct Scene {
    cloud: Cloud,
    instance: String,
    address: Allocation,
    key: Key,
}

fn scene(options: Options) -> Scene {
    let cloud = Cloud::start(options);
    let instance = cloud.launch(Launch::default());
    let address = cloud.allocate(&[]);
    let key = key(&cloud, &instance);
    Scene { cloud, instance, address, key }
}

impl Scene {
    fn client(&self) -> Client {
        Client::new(self.cloud.endpoint(Service::Ec2))
    }

    fn associate(&self) -> String {
        let (id, instance) = (&self.address.allocation_id, &self.instance);
        let form = format!("Action=AssociateAddress&Version=2016-11-15&AllocationId={id}&InstanceId={instance}");
        query(&self.key, &form)
    }

    fn describe(&self) -> String {
        query(&self.key, "Action=DescribeAddresses&Version=2016-11-15")
    }

    /// Sends an association that goes wrong: what came back, and whether it was carried out.
    fn broken(&self, fault: Fault) -> (std::io::Result<Reply>, bool) {
        let client = match fault {
            Fault::Hang | Fault::CommitThenHang => self.client().impatient(),
            _ => self.client(),
        };
        self.cloud.fault("AssociateAddress", Calls::Nth(1), fault);
        let result = { client }.send(&self.associate());
        let held = self.cloud.holder(&self.address.allocation_id).is_some();
        let [request] = self.cloud.requests("AssociateAddress").try_into().unwrap();
        assert_eq!(request.instance_id, Some(self.instance.clone()));
        assert_eq!(request.committed, held);
        assert_eq!(request.status, result.as_ref().ok().map(|reply| reply.status).or(request.status));
        (result, held)
    }
}

fn kind(result: &std::io::Result<Reply>) -> Option<ErrorKind> {
    result.as_ref().err().map(std::io::Error::kind)
}

#[test]
fn a_call_without_a_fault_is_answered_on_a_connection_that_stays() {
    let scene = scene(Options::default());
    let mut client = scene.client();
    let first = client.send(&scene.associate()).unwrap();
    let second = client.send(&scene.describe()).unwrap();
    assert_eq!((first.status, second.status), (200, 200));
    assert!(second.body.contains(&format!("<instanceId>{}</instanceId>", scene.instance)), "{}", second.body);
    let connections: Vec<u64> =
        scene.cloud.log().iter().filter(|r| r.service == Service::Ec2).map(|r| r.connection).collect();
    assert_eq!(connections.len(), 2);
    assert_eq!(connections[0], connections[1]);
}

#[test]
fn a_trial_does_nothing() {
    let scene = scene(Options::default());
    let (id, instance) = (&scene.address.allocation_id, &scene.instance);
    let form =
        format!("Action=AssociateAddress&Version=2016-11-15&DryRun=true&AllocationId={id}&InstanceId={instance}");
    let trial = query(&scene.key, &form);
    let reply = scene.client().send(&trial).unwrap();
    assert_eq!(reply.status, 412);
    assert!(reply.body.contains("<Code>DryRunOperation</Code>"), "{}", reply.body);
    scene.cloud.deny(Some(instance), "ec2:AssociateAddress");
    let reply = scene.client().send(&trial).unwrap();
    assert_eq!(reply.status, 403);
    assert!(reply.body.contains("Encoded authorization failure message: "), "{}", reply.body);
    assert!(scene.cloud.log().iter().all(|request| !request.committed));
    let codes: Vec<_> =
        scene.cloud.requests("AssociateAddress").into_iter().map(|r| (r.dry_run, r.error_code)).collect();
    let expected = ["DryRunOperation", "UnauthorizedOperation"].map(|code| (true, Some(code.to_string())));
    assert_eq!(codes, expected);
    assert!(scene.cloud.holder(id).is_none());
}

#[test]
fn a_hang_does_nothing_and_says_nothing() {
    let (result, held) = scene(Options::default()).broken(Fault::Hang);
    assert_eq!((kind(&result), held), (Some(ErrorKind::WouldBlock), false));
}

#[test]
fn a_reset_is_a_reset() {
    let (result, held) = scene(Options::default()).broken(Fault::Reset);
    assert_eq!((kind(&result), held), (Some(ErrorKind::ConnectionReset), false));
}

#[test]
fn a_close_is_an_end_without_an_answer() {
    let (result, held) = scene(Options::default()).broken(Fault::Close);
    assert_eq!((kind(&result), held), (Some(ErrorKind::UnexpectedEof), false));
}

#[test]
fn a_delay_comes_before_the_act() {
    let delay = Duration::from_millis(80);
    let start = Instant::now();
    let (result, held) = scene(Options::default()).broken(Fault::Delay(delay));
    assert_eq!((result.unwrap().status, held), (200, true));
    assert!(start.elapsed() >= delay);
}

#[test]
fn a_status_and_garbage_and_an_error_do_nothing() {
    let (result, held) = scene(Options::default()).broken(Fault::Status { code: 502, body: "<html>bad".into() });
    let reply = result.unwrap();
    assert_eq!((reply.status, reply.body.as_str(), held), (502, "<html>bad", false));

    let garbage = Fault::Garbage { content_type: "text/html".into(), body: b"<p>log in".to_vec() };
    let (result, held) = scene(Options::default()).broken(garbage);
    let reply = result.unwrap();
    assert_eq!((reply.status, reply.body.as_str(), held), (200, "<p>log in", false));
    assert!(reply.head.contains("content-type: text/html"), "{}", reply.head);

    let error = Fault::Error { status: 503, code: "Unavailable".into(), message: "busy".into() };
    let (result, held) = scene(Options::default()).broken(error);
    let reply = result.unwrap();
    assert_eq!((reply.status, held), (503, false));
    assert!(reply.body.contains("<Code>Unavailable</Code><Message>busy</Message>"), "{}", reply.body);
}

#[test]
fn a_truncated_answer_ends_in_its_middle_and_the_act_is_done() {
    let (result, held) = scene(Options::default()).broken(Fault::Truncate);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), held), (ErrorKind::UnexpectedEof, true));
    let text = error.to_string();
    assert!(text.contains("HTTP/1.1 200") && text.contains("<Associate") && !text.contains("</Associate"), "{text}");
}

#[test]
fn what_is_committed_first_is_done_whatever_comes_back() {
    let (result, held) = scene(Options::default()).broken(Fault::CommitThenHang);
    assert_eq!((kind(&result), held), (Some(ErrorKind::WouldBlock), true));

    let (result, held) = scene(Options::default()).broken(Fault::CommitThenReset);
    assert_eq!((kind(&result), held), (Some(ErrorKind::ConnectionReset), true));

    let error = Fault::CommitThenError { status: 500, code: "InternalError".into(), message: String::new() };
    let (result, held) = scene(Options::default()).broken(error);
    assert_eq!((result.unwrap().status, held), (500, true));

    let delay = Duration::from_millis(80);
    let start = Instant::now();
    let (result, held) = scene(Options::default()).broken(Fault::CommitThenDelay(delay));
    assert_eq!((result.unwrap().status, held), (200, true));
    assert!(start.elapsed() >= delay);
}

#[test]
fn only_the_calls_that_are_meant_go_wrong() {
    let scene = scene(Options::default());
    let other = scene.cloud.launch(Launch::default());
    let unavailable = Fault::Error { status: 503, code: "Unavailable".into(), message: String::new() };
    scene.cloud.fault("DescribeAddresses", Calls::First(2), unavailable.clone());
    let statuses: Vec<u16> = (0..3).map(|_| scene.client().send(&scene.describe()).unwrap().status).collect();
    assert_eq!(statuses, [503, 503, 200]);
    scene.cloud.fault("EC2", Calls::All, unavailable).only(&other);
    assert_eq!(scene.client().send(&scene.describe()).unwrap().status, 200);
    let theirs = query(&key(&scene.cloud, &other), "Action=DescribeAddresses&Version=2016-11-15");
    assert_eq!(scene.client().send(&theirs).unwrap().status, 503);
    scene.cloud.clear_faults();
    assert_eq!(scene.client().send(&theirs).unwrap().status, 200);
}

#[test]
fn an_outage_refuses_and_resets_and_ends_on_the_same_port() {
    let scene = scene(Options::default());
    let mut open = scene.client();
    assert_eq!(open.send(&scene.describe()).unwrap().status, 200);
    for service in [Service::Ec2, Service::Imds] {
        let address = match service {
            Service::Imds => scene.cloud.imds_endpoint(&scene.instance),
            _ => scene.cloud.endpoint(service),
        };
        for _ in 0..3 {
            scene.cloud.outage(service, true);
            let refused = TcpStream::connect(address).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            scene.cloud.outage(service, false);
            drop(Client::new(address));
        }
    }
    let broken = open.send(&scene.describe()).unwrap_err().kind();
    assert!(matches!(broken, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{broken}");
    assert_eq!(scene.client().send(&scene.describe()).unwrap().status, 200);
}

#[test]
fn a_swap_kills_the_connection_and_the_answer_on_it() {
    let scene = scene(Options { connections_die_on_swap: true, ..Options::default() });
    let mut idle = scene.client();
    assert_eq!(idle.send(&scene.describe()).unwrap().status, 200);
    let unused = scene.client();
    let answer = scene.client().impatient().send(&scene.associate());
    assert_eq!(kind(&answer), Some(ErrorKind::WouldBlock));
    assert!(scene.cloud.holder(&scene.address.allocation_id).is_some());
    assert_eq!(scene.cloud.requests("AssociateAddress")[0].status, None);
    for old in [idle, unused] {
        assert_eq!(kind(&old.impatient().send(&scene.describe())), Some(ErrorKind::WouldBlock));
    }
    assert_eq!(scene.client().send(&scene.describe()).unwrap().status, 200);
    assert_eq!(scene.cloud.requests("DescribeAddresses").len(), 2);
}

#[test]
fn signatures_need_their_form_their_key_and_their_time() {
    let scene = scene(Options::default());
    let form = "Action=DescribeAddresses&Version=2016-11-15";
    let code = |request: &str| {
        let reply = scene.client().send(request).unwrap();
        let code = reply.body.split_once("<Code>").map_or("", |(_, rest)| rest.split('<').next().unwrap());
        (reply.status, code.to_string())
    };
    let good = scene.describe();
    assert_eq!(code(&good), (200, String::new()));
    assert_eq!(code(&good.replace("AWS4-HMAC", "AWS5-HMAC")), (400, "IncompleteSignature".into()));
    assert_eq!(code(&good.replace("host;x-amz-date;", "host;")), (400, "IncompleteSignature".into()));
    assert_eq!(code(&good.replace("/ec2/", "/sts/")), (401, "AuthFailure".into()));
    assert_eq!(code(&good.replace("ap-northeast-2", "us-east-1")), (401, "AuthFailure".into()));
    assert_eq!(code(&good.replace(&scene.key.token, "stale")), (401, "AuthFailure".into()));
    assert_eq!(code(&dated(&scene.key, form, "20200101T000000Z")), (400, "RequestExpired".into()));
    let bare = good.replace("Authorization:", "X-Other:");
    assert_eq!(code(&bare), (403, "MissingAuthenticationToken".into()));
    scene.cloud.rotate_credentials(&scene.instance);
    assert_eq!(code(&good), (401, "AuthFailure".into()));
    let last = scene.cloud.requests("DescribeAddresses").pop().unwrap();
    assert_eq!(last.instance_id, Some(scene.instance.clone()));
}

#[test]
fn the_clouds_clock_is_its_own() {
    let scene = scene(Options { clock_offset: 3600, ..Options::default() });
    let reply = scene.client().send(&scene.describe()).unwrap();
    assert!(reply.body.contains("RequestExpired"), "{}", reply.body);
    let date = reply.head.split_once("\ndate: ").unwrap().1.lines().next().unwrap().trim().to_string();
    let hour = SystemTime::now() + Duration::from_secs(3600);
    let near = |time: SystemTime| httpdate::fmt_http_date(time).to_ascii_lowercase() == date;
    assert!((0..5).any(|s| near(hour - Duration::from_secs(s)) || near(hour + Duration::from_secs(s))), "{date}");
}

#[test]
fn the_metadata_service_wants_a_token_and_has_its_paths() {
    let cloud = Cloud::start(Options::default());
    let tags = tags(&[("Name", "web"), ("aws:autoscaling:groupName", "asg"), ("a b", "c")]);
    let id = cloud.launch(Launch { tags, ..Launch::default() });
    let other = cloud.launch(Launch::default());
    let mut client = Client::new(cloud.imds_endpoint(&id));
    let put = |client: &mut Client, path: &str, headers: &str| {
        client.send(&format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{headers}\r\n")).unwrap()
    };
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n";
    for (path, headers, status) in [
        ("/latest/api/token", "", 400),
        ("/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 0\r\n", 400),
        ("/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21601\r\n", 400),
        ("/latest/api/token", &format!("{ttl}X-Forwarded-For: 10.0.0.1\r\n"), 403),
        ("/2021-07-15/api/token", ttl, 403),
    ] {
        assert_eq!(put(&mut client, path, headers).status, status, "{path} {headers}");
    }
    let reply = put(&mut client, "/latest/api/token", ttl);
    assert!(reply.head.contains("x-aws-ec2-metadata-token-ttl-seconds: 21600"), "{}", reply.head);
    let token = reply.body;

    let mac = cloud.interfaces(&id)[0].mac.clone();
    let nic = cloud.interfaces(&id)[0].clone();
    let macs = format!("/latest/meta-data/network/interfaces/macs/{mac}");
    let public = nic.public_ips[0].to_string();
    let mut read = |path: &str| {
        let reply = get(&mut client, &token, path);
        (reply.status == 200).then_some(reply.body).ok_or(reply.status)
    };
    for (path, expected) in [
        ("/latest/meta-data/instance-id", id.as_str()),
        ("/2021-07-15/meta-data/instance-id", &id),
        ("/latest/meta-data/placement/region", "ap-northeast-2"),
        ("/latest/meta-data/placement/availability-zone", "ap-northeast-2a"),
        ("/latest/meta-data/mac", &mac),
        ("/latest/meta-data/network/interfaces/macs/", &format!("{mac}/")),
        (&format!("{macs}/interface-id"), &nic.interface_id),
        (&format!("{macs}/device-number"), "0"),
        (&format!("{macs}/local-ipv4s"), &nic.private_ips[0].to_string()),
        (&format!("{macs}/public-ipv4s"), &public),
        (&format!("{macs}/ipv4-associations/{public}"), &nic.private_ips[0].to_string()),
        ("/latest/meta-data/public-ipv4", &public),
        ("/latest/meta-data/iam/security-credentials/", "eip-claim"),
        ("/latest/meta-data/tags/instance/Name", "web"),
        ("/latest/meta-data/tags/instance/aws:autoscaling:groupName", "asg"),
        ("/latest/meta-data/tags/instance/aws%3Aautoscaling%3AgroupName", "asg"),
        ("/latest/meta-data/tags/instance/a%20b", "c"),
        ("/latest/meta-data/tags/instance/", "Name\na b\naws:autoscaling:groupName"),
    ] {
        assert_eq!(read(path).as_deref(), Ok(expected), "{path}");
    }
    assert_eq!(read("/latest/meta-data/autoscaling/target-lifecycle-state"), Err(404));
    assert_eq!(read("/latest/meta-data/tags/instance/absent"), Err(404));
    assert_eq!(read("/latest/nothing"), Err(404));
    let document = read("/latest/dynamic/instance-identity/document").unwrap();
    assert!(document.contains("\"accountId\": \"123456789012\""), "{document}");
    cloud.set_lifecycle(&id, Some("InService"));
    assert_eq!(read("/latest/meta-data/autoscaling/target-lifecycle-state").as_deref(), Ok("InService"));
    cloud.set_role(&id, None);
    assert_eq!(read("/latest/meta-data/iam/security-credentials/"), Err(404));
    cloud.stop(&id);
    assert_eq!(read("/latest/meta-data/public-ipv4"), Err(404));
    assert_eq!(read(&format!("{macs}/public-ipv4s")), Err(404));

    assert_eq!(get(&mut client, "wrong", "/latest/meta-data/mac").status, 401);
    let mut theirs = Client::new(cloud.imds_endpoint(&other));
    assert_eq!(get(&mut theirs, &token, "/latest/meta-data/mac").status, 401);
    cloud.set_imds_enabled(&id, false);
    assert_eq!(get(&mut client, &token, "/latest/meta-data/mac").status, 403);
    assert_eq!(put(&mut client, "/latest/api/token", ttl).status, 403);
    assert_eq!(cloud.requests("GET /latest/meta-data/instance-id")[0].instance_id, Some(id));
}

#[test]
fn other_methods_and_too_much_are_refused() {
    let scene = scene(Options::default());
    let mut client = scene.client();
    assert_eq!(client.send("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().status, 405);
    let much = (2 << 20).to_string();
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {much}\r\n\r\n{}", "a".repeat(1 << 20));
    let refused = scene.client().send(&format!("{head}aa"));
    assert!(refused.is_ok_and(|reply| reply.status == 413));
}

#[test]
fn clouds_do_not_know_each_other() {
    let (one, two) = (scene(Options::default()), scene(Options::default()));
    assert_eq!(one.client().send(&one.associate()).unwrap().status, 200);
    assert!(one.cloud.holder(&one.address.allocation_id).is_some());
    assert!(two.cloud.holder(&two.address.allocation_id).is_none());
    assert_ne!(one.cloud.endpoint(Service::Ec2), two.cloud.endpoint(Service::Ec2));
}

#[test]
fn every_byte_is_counted_on_the_side_that_it_belongs_to() {
    let scene = scene(Options::default());
    let (mut client, request) = (scene.client(), scene.describe());
    let reply = client.send(&request).unwrap();
    let sent = reply.head.len() + "\r\n\r\n".len() + reply.body.len();
    let expected = Traffic { connections: 1, received: request.len() as u64, sent: sent as u64 };
    // What was written is counted after it was written: the client may have it first.
    let since = Instant::now();
    while scene.cloud.traffic().0 != expected && since.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (apis, metadata) = scene.cloud.traffic();
    assert_eq!(apis, expected);
    assert_eq!(metadata.connections, 1, "the key was read over it");
}

#[test]
fn ec2_and_the_metadata_service_listen_where_they_are_told_to() {
    let [ec2, metadata] = ["127.200.0.1:0", "127.200.0.2:0"].map(|place| place.parse::<SocketAddr>().unwrap());
    let cloud = Cloud::start(Options { ec2_at: Some(ec2), ..Options::default() });
    let imds = ImdsOptions { at: Some(metadata), ..ImdsOptions::default() };
    let instance = cloud.launch(Launch { imds, ..Launch::default() });
    assert_eq!(cloud.endpoint(Service::Ec2).ip(), ec2.ip());
    assert_eq!(cloud.imds_endpoint(&instance).ip(), metadata.ip());
    assert!(!imds_token(&mut Client::new(cloud.imds_endpoint(&instance))).is_empty());
}

#[test]
fn a_read_of_the_metadata_takes_as_long_as_it_is_told_to() {
    let scene = scene(Options::default());
    let latency = Duration::from_millis(50);
    scene.cloud.set_imds_latency(latency);
    let mut client = Client::new(scene.cloud.imds_endpoint(&scene.instance));
    let start = Instant::now();
    imds_token(&mut client);
    assert!(start.elapsed() >= latency);
}
