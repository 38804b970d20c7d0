//! What the programs themselves say of the files that hold hostile texts: their checkers take them, and where a text comes out
//! again, or opens a door, it is the one that was written.

use crate::Taken;
use crate::proof::{has, is_root};
use base64ct::{Base64, Encoding};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How many configurations of one field a checker judges.
const CHECKED: usize = 8;
/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);
const TEST: &str = "hostile_fields";

/// How many configurations were checked, and how many texts read back.
pub fn judge(class: &str, taken: &[Taken]) -> (usize, usize) {
    match class {
        "haproxy" if has("haproxy", TEST) => (check(taken, haproxy), haproxy_lets_in(taken)),
        "nginx" => {
            let with_nginx = is_root() && has("nginx", TEST);
            (if with_nginx { check(taken, nginx) } else { 0 }, if has("php", TEST) { php_reads(taken) } else { 0 })
        }
        "postgresql" => (0, postgresql_lets_in(taken)),
        _ => (0, 0),
    }
}

/// Files laid out in a scratch directory, whose words that name each other do so there.
fn lay(files: &BTreeMap<String, String>) -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let at = |path: &str| scratch.path().join(path.trim_start_matches('/').replace('/', "_"));
    for (path, text) in files {
        let mut text = text.clone();
        for other in files.keys() {
            text = text.replace(&format!(" {other}"), &format!(" {}", at(other).display()));
        }
        std::fs::write(at(path), text.replace("/run/nginx.pid", &at("pid").display().to_string())).unwrap();
    }
    scratch
}

fn laid(scratch: &TempDir, path: &str) -> PathBuf {
    scratch.path().join(path.trim_start_matches('/').replace('/', "_"))
}

fn haproxy(scratch: &TempDir) -> Command {
    let mut command = Command::new("haproxy");
    command.args(["-c", "-f"]).arg(laid(scratch, "/etc/haproxy/haproxy.cfg"));
    command
}

fn nginx(scratch: &TempDir) -> Command {
    let mut command = Command::new("nginx");
    command.args(["-t", "-q", "-c"]).arg(laid(scratch, "/etc/nginx/nginx.conf"));
    command
}

/// Runs a checker on some of the configurations of each field.
fn check(taken: &[Taken], checker: fn(&TempDir) -> Command) -> usize {
    let mut of_field: BTreeMap<&str, Vec<&Taken>> = BTreeMap::new();
    for one in taken {
        of_field.entry(&one.subject).or_default().push(one);
    }
    let mut checked = 0;
    for (field, all) in of_field.iter().filter(|(field, _)| field.starts_with("fields.")) {
        for one in all.iter().step_by(all.len().div_ceil(CHECKED)) {
            let scratch = lay(&one.files);
            let output = checker(&scratch).env("PATH", PATH).stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{field} = {:.60?}: {said:.2000}", one.text);
            checked += 1;
        }
    }
    checked
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What PHP reads is what it reads of the harmless file, with the hostile text in it.
fn php_reads(taken: &[Taken]) -> usize {
    const FILE: &str = "/etc/appliance/application.php";
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Command::new("php");
    command.args(["-r", "foreach (array_slice($argv, 1) as $f) echo json_encode(require $f), \"\\n\";", "--"]);
    let mut read = Vec::new();
    for (number, one) in taken.iter().filter(|one| one.files[FILE] != one.harmless[FILE]).enumerate() {
        for (letter, files) in [('h', &one.harmless), ('t', &one.files)] {
            let file = scratch.path().join(format!("{number}{letter}.php"));
            std::fs::write(&file, &files[FILE]).unwrap();
            command.arg(file);
        }
        read.push(one);
    }
    let output = command.output().unwrap();
    let lines: Vec<&[u8]> = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), read.len() * 2, "{}", String::from_utf8_lossy(&output.stderr));
    for (pair, one) in lines.chunks(2).zip(&read) {
        let mut expected: Value = serde_json::from_slice(pair[0]).unwrap();
        crate::appliance::exchange_texts(&mut expected, &one.marker, &one.text);
        let there: Value = serde_json::from_slice(pair[1]).unwrap();
        assert_eq!(there, expected, "{} = {:.60?}", one.subject, one.text);
        assert!(there.to_string().contains(&serde_json::to_string(&one.text).unwrap()), "{}", one.subject);
    }
    read.len()
}

/// A server that runs until the test is over.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connect(socket: &Path, log: &Path) -> UnixStream {
    let end = Instant::now() + START;
    loop {
        if let Ok(stream) = UnixStream::connect(socket) {
            stream.set_read_timeout(Some(START)).unwrap();
            return stream;
        }
        assert!(Instant::now() < end, "{:.2000}", std::fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// HAProxy lets in who has the hostile name or password, and nobody else: by the very line of the class's file, in one
/// configuration with all of them.
fn haproxy_lets_in(taken: &[Taken]) -> usize {
    let credentials = |one: &Taken| {
        let line = one.files["/etc/haproxy/haproxy.cfg"].lines().find(|line| line.contains("insecure-password"));
        let line = line.unwrap().to_owned();
        match one.subject.as_str() {
            "fields.statistics_password" => Some((line, "operator".to_owned(), one.text.clone())),
            _ => None,
        }
    };
    let all: Vec<_> = taken.iter().filter_map(credentials).collect();
    assert!(all.len() > 100);
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let (mut users, mut rules) = (String::new(), String::new());
    for (number, (line, ..)) in all.iter().enumerate() {
        writeln!(users, "userlist u{number}\n{line}").unwrap();
        writeln!(rules, "  http-request return status 200 if {{ path /{number} }} {{ http_auth(u{number}) }}").unwrap();
    }
    let config = format!(
        "defaults\n  mode http\n  timeout client 9s\n  timeout server 9s\n  timeout connect 9s\n{users}\
         frontend f\n  bind unix@{}\n{rules}  http-request deny deny_status 401\n",
        at("web").display()
    );
    std::fs::write(at("cfg"), config).unwrap();
    let log = std::fs::File::create(at("log")).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(at("cfg")).env("PATH", PATH).stdin(Stdio::null());
    let _server = Server(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let status = |number: usize, user: &str, password: &str| {
        let mut stream = connect(&at("web"), &at("log"));
        let credentials = Base64::encode_string(format!("{user}:{password}").as_bytes());
        write!(stream, "GET /{number} HTTP/1.0\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (number, (line, user, password)) in all.iter().enumerate() {
        assert_eq!(status(number, user, password), "200", "{line}");
        assert_eq!(status(number, user, &format!("{password}x")), "401", "{line}");
    }
    all.len()
}

/// A program of PostgreSQL, which refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(if is_root() { Path::new("setpriv") } else { program });
    if is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
    }
    command.stdin(Stdio::null()).current_dir("/");
    command
}

/// PostgreSQL, given the script of the class for each hostile password, lets in who has it, and nobody else.
fn postgresql_lets_in(taken: &[Taken]) -> usize {
    let programs = Path::new("/usr/lib/postgresql/15/bin");
    if !programs.is_dir() {
        assert!(
            std::env::var_os("HANDOFF_TEST_ALL").is_none(),
            "postgresql-15 is not installed; make deps installs it"
        );
        println!("{TEST}: SKIPPED, PostgreSQL is not installed");
        return 0;
    }
    let scratch = tempfile::tempdir().unwrap();
    if is_root() {
        std::os::unix::fs::chown(scratch.path(), Some(65534), Some(65534)).unwrap();
    }
    let at = |name: &str| scratch.path().join(name);
    let mut initdb = unprivileged(&programs.join("initdb"));
    initdb.args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"]).arg(at("data"));
    let made = initdb.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(at("data/pg_hba.conf"), "local all postgres trust\nlocal all all scram-sha-256\n").unwrap();
    let mut server = unprivileged(&programs.join("postgres"));
    server.arg("-D").arg(at("data")).args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]).arg(scratch.path());
    let log = std::fs::File::create(at("log")).unwrap();
    let _server = Server(server.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    drop(connect(&at(".s.PGSQL.5432"), &at("log")));
    let psql = |user: &str, password: &str, more: &[&str]| {
        let mut command = unprivileged(&programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-w", "-d", "postgres", "-U", user, "-h"]).arg(scratch.path());
        let output = command.args(more).env("PGPASSWORD", password).env("PGCLIENTENCODING", "UTF8").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(said) }
    };
    let end = Instant::now() + START;
    while let Err(said) = psql("postgres", "", &["-c", "SELECT 1"]) {
        assert!(Instant::now() < end, "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The role of the class's example; each script gives it another password.
    let passwords: Vec<&Taken> = taken.iter().filter(|one| one.subject == "fields.roles[0].password").collect();
    assert!(passwords.len() > 30);
    for one in &passwords {
        std::fs::write(at("roles.sql"), &one.files["/etc/postgresql/roles.sql"]).unwrap();
        psql("postgres", "", &["-f", at("roles.sql").to_str().unwrap()]).unwrap();
        let shown = psql("shop", &one.text, &["-c", "SELECT current_user"]);
        assert_eq!(shown.as_deref(), Ok("shop\n"), "{:.60?}", one.text);
        let refused = psql("shop", &format!("{}x", one.text), &["-c", "SELECT 1"]).unwrap_err();
        assert!(refused.contains("password authentication failed"), "{refused}");
    }
    passwords.len()
}
