//! `make demo-app`: a balancer, two web servers and a database, from the settings in `catalog/examples/shop/` alone.
//!
//! The images are baked from the catalog, the settings signed and packed, and four guests started on a network of their own.
//! Nobody logs in to any of them; all that is seen comes by way of the balancer, and from the consoles. What is said is
//! checked: the program ends with an error where something does not hold.
//!
//! It uses the machines of the tests. Root and the packages of `tests/packages` are needed; `make demo-app` installs them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/vm/harness/mod.rs"]
mod harness;

use harness::{Hub, Image, Machine, Nic, RootDisk, RunAs, Scratch, SshKey, handoff, repository, trusted_line};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const OUTSIDE: &str = "52:54:00:5a:00:01";
/// How long a guest may take until it says that it is ready, on a machine that has much else to do.
const START: Duration = Duration::from_secs(240);
/// How long any guest runs at all.
const END: Duration = Duration::from_secs(900);
const REQUESTS: u32 = 20;

fn main() {
    let begun = Instant::now();
    say("Three images, baked from the classes of the catalog (their packages once, about a minute and a half)");
    let shop = Shop::new();
    let images_done = Instant::now();
    println!("{} s", begun.elapsed().as_secs());

    say("Settings, signed and packed: this is all that makes the guests what they are");
    let names = ["lb", "web1", "web2", "db"];
    let disks: BTreeMap<&str, PathBuf> =
        names.iter().map(|name| (*name, shop.pack(name, &shop.settings(name)))).collect();
    let roots: BTreeMap<&str, RootDisk> = names.iter().map(|name| (*name, shop.root(name))).collect();
    let volume = shop.scratch.file("data.img", "");
    std::fs::File::options().write(true).open(&volume).unwrap().set_len(1 << 30).unwrap();

    say("Four guests start, on a network of their own");
    let db_volume = Some(volume.as_path());
    let mut db = shop.boot("db", &roots["db"], &disks["db"], db_volume);
    let mut web1 = shop.boot("web1", &roots["web1"], &disks["web1"], None);
    let mut web2 = shop.boot("web2", &roots["web2"], &disks["web2"], None);
    let mut lb = shop.boot("lb", &roots["lb"], &disks["lb"], None);
    for machine in [&mut lb, &mut web1, &mut web2, &mut db] {
        ready(machine);
    }
    let front = Front { page: lb.port_of(80), statistics: lb.port_of(8404) };
    front.wait_until(&[("web1", "UP"), ("web2", "UP")]);

    say("Requests from outside: the balancer asks both web servers, and these count visits in the database");
    let answers: Vec<Answer> = (0..REQUESTS).map(|_| front.get()).collect();
    for answer in &answers {
        println!("{answer}");
    }
    let counted: Vec<u32> = answers.iter().map(|answer| answer.visits).collect();
    check(counted == (1..=REQUESTS).collect::<Vec<_>>(), "each request was counted once, the last as number 20");
    for server in ["web1", "web2"] {
        check(answers.iter().any(|answer| answer.server == server), &format!("{server} answered some of them"));
    }
    check(answers.iter().all(|answer| answer.greeting == "Welcome to the shop"), "both greet as their settings say");

    say("Another greeting in the settings of web1, and that guest started anew");
    let greeting = "Fresh bread from six o'clock";
    let changed = shop.settings("web1").replace("Welcome to the shop", greeting).replace("serial = 1", "serial = 2");
    let disk = shop.pack("web1-2", &changed);
    web1.power_off();
    let mut web1 = shop.boot("web1", &roots["web1"], &disk, None);
    let mut meanwhile = 0;
    while !front.is(&[("web1", "UP")]) || meanwhile < 4 {
        if web1.age() > START {
            web1.fail("is not taken back by the balancer");
        }
        let answer = front.get();
        let old = answer.greeting == "Welcome to the shop";
        assert!(old == (answer.server == "web2"), "an answer that neither settings explain: {answer}");
        meanwhile += 1;
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("{meanwhile} requests meanwhile, all of them answered");
    ready(&mut web1);
    let answers: Vec<Answer> = (0..4).map(|_| front.get()).collect();
    for answer in &answers {
        println!("{answer}");
    }
    let right =
        |answer: &Answer| answer.greeting == if answer.server == "web1" { greeting } else { "Welcome to the shop" };
    check(answers.iter().all(right), "web1 says the new one, and web2 the old one");
    check(answers.iter().any(|answer| answer.server == "web1"), "web1 answers again");
    for machine in [&lb, &web2, &db] {
        let starts = machine.console().matches("handoff: applied").count();
        check(starts == 1, &format!("{} did not start anew", machine.name()));
    }

    say("The power of web2 is cut");
    web2.cut_power();
    let answers: Vec<Answer> = (0..6).map(|_| front.get()).collect();
    for answer in &answers {
        println!("{answer}");
    }
    check(answers.iter().all(|answer| answer.server == "web1"), "the balancer goes on with web1");
    front.wait_until(&[("web1", "UP"), ("web2", "DOWN")]);
    let last = answers.last().map_or(0, |answer| answer.visits);

    say("The power of the database is cut, and a new guest takes its data volume over");
    db.cut_power();
    let fresh = shop.root("db");
    let mut db = shop.boot("db", &fresh, &disks["db"], db_volume);
    ready(&mut db);
    let answer = front.get();
    println!("{answer}");
    check(answer.visits == last + 1, "the count goes on where it was");

    println!("\n{} s from the settings to here", images_done.elapsed().as_secs());
}

/// What the four guests are made of.
struct Shop {
    scratch: Scratch,
    signer: SshKey,
    hub: Hub,
    images: BTreeMap<&'static str, Image>,
}

impl Shop {
    fn new() -> Self {
        let scratch = Scratch::new();
        let signer = scratch.ssh_key("signer");
        let keys = scratch.file("trusted-keys", trusted_line(&signer));
        let bake = |class: &'static str| (class, Image::appliance(class, &scratch.path().join(class), &keys));
        let images = ["haproxy", "nginx", "postgresql"].map(bake).into();
        Shop { scratch, signer, hub: Hub::new(), images }
    }

    fn image(&self, name: &str) -> &Image {
        let class = match name {
            "lb" => "haproxy",
            "db" => "postgresql",
            _ => "nginx",
        };
        &self.images[class]
    }

    /// The settings as they are in the catalog.
    fn settings(&self, name: &str) -> String {
        let path = repository().join("catalog/examples/shop").join(name).with_extension("toml");
        std::fs::read_to_string(path).unwrap()
    }

    /// What an operator does: `handoff pack`.
    fn pack(&self, name: &str, settings: &str) -> PathBuf {
        let document = self.scratch.file(&format!("{name}.toml"), settings);
        let disk = self.scratch.path().join(format!("{name}.img"));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (document, key, output) = (text(&document), text(&self.signer.private), text(&disk));
        print!("{}", handoff(&["pack", &document, "--key", &key, "--output", &output]));
        disk
    }

    /// A root disk as it comes from the catalog.
    fn root(&self, name: &str) -> RootDisk {
        RootDisk::new(self.image(name), &harness::Layer::new())
    }

    fn boot(&self, name: &str, root: &RootDisk, settings: &Path, volume: Option<&Path>) -> Machine {
        let mac = match name {
            "lb" => "52:54:00:5a:00:10",
            "web1" => "52:54:00:5a:00:11",
            "web2" => "52:54:00:5a:00:12",
            _ => "52:54:00:5a:00:20",
        };
        let mut builder = Machine::builder(self.image(name), &format!("shop-{name}"), root)
            .run_as(RunAs::Pid1)
            .disk(settings)
            .nic(Nic::on(self.hub, mac))
            .deadline(END);
        if name == "lb" {
            let outside = Nic::user(OUTSIDE).network("192.0.2.0/24", "192.0.2.1", "192.0.2.10").forward(&[80, 8404]);
            builder = builder.nic(outside);
        }
        if let Some(volume) = volume {
            builder = builder.volume(volume, "data");
        }
        builder.boot()
    }
}

/// Waits until a guest says on its console that it is ready, and shows what it said.
fn ready(machine: &mut Machine) {
    let line = machine.wait_for_line("handoff: ready", START);
    println!("{}: {line} ({} s after the power was turned on)", machine.name(), machine.age().as_secs());
}

/// The shop as it is seen from outside.
struct Front {
    page: u16,
    statistics: u16,
}

/// What the page said.
struct Answer {
    greeting: String,
    server: String,
    visits: u32,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>3}  {}  \"{}\"", self.visits, self.server, self.greeting)
    }
}

impl Front {
    /// One visit. Panics where the page does not answer as it should.
    fn get(&self) -> Answer {
        let page = fetch(self.page, "/", "").unwrap_or_else(|problem| panic!("the shop does not answer: {problem}"));
        let lines: Vec<&str> = page.lines().collect();
        let [greeting, server, visits] = lines[..] else { panic!("the shop answers {page:?}") };
        let name = server.strip_prefix("server: ").and_then(|name| name.split('.').next());
        let visits = visits.strip_prefix("visits: ").and_then(|count| count.parse().ok());
        match (name, visits) {
            (Some(name), Some(visits)) => Answer { greeting: greeting.into(), server: name.into(), visits },
            _ => panic!("the shop answers {page:?}"),
        }
    }

    /// Whether the balancer's page of statistics says so of its servers.
    fn is(&self, wanted: &[(&str, &str)]) -> bool {
        // The name and the password in catalog/examples/shop/lb.toml.
        let login = "Authorization: Basic b3BlcmF0b3I6YS1zZWNyZXQtb2YtdGhlLWJhbGFuY2Vy\r\n";
        let Ok(table) = fetch(self.statistics, "/;csv", login) else { return false };
        wanted.iter().all(|(server, state)| {
            let line = table.lines().find(|line| line.starts_with(&format!("servers,{server},")));
            line.is_some_and(|line| line.split(',').nth(17).is_some_and(|found| found.starts_with(state)))
        })
    }

    fn wait_until(&self, wanted: &[(&str, &str)]) {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.is(wanted) {
            assert!(Instant::now() < end, "the balancer does not see {wanted:?} in 60 s");
            std::thread::sleep(Duration::from_millis(200));
        }
        println!("the balancer sees {wanted:?}");
    }
}

/// The body of a page whose status is 200.
fn fetch(port: u16, path: &str, header: &str) -> Result<String, String> {
    let limit = Duration::from_secs(30);
    let text = |problem: std::io::Error| problem.to_string();
    let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), limit).map_err(text)?;
    stream.set_read_timeout(Some(limit)).map_err(text)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: shop.example\r\n{header}\r\n").map_err(text)?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer).map_err(text)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("it says {answer:?}"))?;
    let status = head.split(' ').nth(1);
    if status == Some("200") { Ok(body.to_owned()) } else { Err(format!("it says {head:?}")) }
}

/// A claim that has to hold.
fn check(holds: bool, claim: &str) {
    assert!(holds, "this does not hold: {claim}");
    println!("  holds: {claim}");
}

fn say(text: &str) {
    println!("\n== {text}");
}
