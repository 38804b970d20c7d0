//! Hostile texts in templates, read by the programs that the templates are for: each reads exactly that text, or it was refused.
//! Where a program is not there, its test says so and passes.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr, clippy::unwrap_used)]
#![allow(missing_docs)]

use handoff::render::templates::{MAX_RENDERED, Syntax, Template, render};
use minijinja::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The Debian user that may nothing. PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// What people and attackers write into fields.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "plain",
        "it's",
        "\"",
        "'",
        "`",
        "'\"'\"",
        "''",
        "\"\"",
        "\\",
        "a\\",
        "\\'",
        "\\\"",
        "\\n",
        "\\x41",
        "\\101",
        "\\\\",
        "a\nb",
        "\n",
        "a\r\nb",
        "\r",
        "\t",
        "a\tb",
        "a\\\nb",
        "{{ x }}",
        "{% raw %}",
        "{# x #}",
        "$(id)",
        "`id`",
        "${HOME}",
        "$HOME",
        "$$",
        "$1",
        "a$$b",
        "$x$",
        ";",
        "a; b",
        "# x",
        "a#b",
        "%",
        "%h",
        "%%",
        "%n %i",
        "%[env(HOME)]",
        "%{HOME}",
        " ",
        " a",
        "a ",
        "  a  b  ",
        "",
        "*/",
        "/* x */",
        "--",
        "-- x",
        "?>",
        "<?php",
        "//",
        "&&",
        "|",
        ">",
        "{",
        "}",
        "};",
        "@x",
        "+all",
        "all",
        "a,b",
        "=",
        "on",
        "default",
        "~x",
        "é",
        "日本語",
        "🙂",
        "\u{2028}",
        "\u{85}",
        "\u{feff}x",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{1}",
        "a\0b",
        "U&'\\0041'",
        "E'x'",
        ":x",
        ":'x'",
        "\\q",
        "\\! id",
        "\\.",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend(["x".repeat(255), "é'\"\\ ".repeat(40), "'".repeat(300), "\\".repeat(300), "x".repeat(65536)]);
    // And some that nobody would think of, always the same.
    let alphabet: Vec<char> = "'\"\\`$%{}#;:-/*?<> \t\nab0=,@é".chars().collect();
    let mut state = 1_u64;
    for _ in 0..200 {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let length = 1 + next() % 9;
        texts.push((0..length).map(|_| alphabet[next() % alphabet.len()]).collect());
    }
    texts
}

/// One line for each text that the syntax carries, with `n` and `text` in it, and those texts with their numbers. The others must
/// be those that the syntax is known not to carry.
fn lines(syntax: Syntax, line: &str, refused: impl Fn(&str) -> bool) -> (String, Vec<(usize, String)>) {
    let (mut all, mut carried) = (String::new(), Vec::new());
    for (n, text) in texts().into_iter().enumerate() {
        let values = Value::from_pairs([("n", Value::from(n)), ("text", Value::from(text.as_str()))]);
        match render(&Template { name: "test", text: line, syntax }, &values, MAX_RENDERED) {
            Ok(line) => {
                assert!(!refused(&text), "{text:?} is not refused");
                all.push_str(&line);
                all.push('\n');
                carried.push((n, text));
            }
            Err(error) => assert!(refused(&text), "{text:?} {error}"),
        }
    }
    (all, carried)
}

fn controls(text: &str, but: &[char]) -> bool {
    text.contains(|c: char| c.is_control() && !but.contains(&c))
}

fn has(program: &str) -> bool {
    let there = Path::new(program).exists()
        || std::env::split_paths("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
            .any(|dir| dir.join(program).exists());
    if !there {
        assert!(std::env::var_os("HANDOFF_TEST_ALL").is_none(), "{program} is not installed; make deps installs it");
        eprintln!("skipped: no {program} on this machine");
    }
    there
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// A scratch directory that an unprivileged program may write in.
fn scratch() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    if is_root() {
        std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    directory
}

/// The program, never as root.
fn unprivileged(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(home).env("HOME", home).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

/// A program that runs until the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(mut command: Command, log: &Path) -> Running {
        let log = fs::File::create(log).unwrap();
        Running(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    /// Connects as soon as somebody listens there.
    fn connect(&mut self, socket: &Path, log: &Path) -> UnixStream {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(stream) = UnixStream::connect(socket) {
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                return stream;
            }
            let ended = self.0.try_wait().unwrap();
            let log = || {
                fs::read_to_string(log)
                    .unwrap_or_default()
                    .lines()
                    .rev()
                    .map(|l| l.chars().take(200))
                    .take(9)
                    .map(String::from_iter)
                    .collect::<Vec<_>>()
            };
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?} {:?}", log());
            sleep(Duration::from_millis(20));
        }
    }
}

/// What is answered to this question until the other side closes.
fn ask(mut stream: UnixStream, question: &str) -> Vec<u8> {
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn body_of(stream: UnixStream, path: &str) -> Vec<u8> {
    let answer = ask(stream, &format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n"));
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.") && answer[8..].starts_with(b" 200"), "{}", String::from_utf8_lossy(&answer));
    answer[end + 4..].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

#[test]
fn haproxy_reads_exactly_the_text() {
    if !has("haproxy") {
        return;
    }
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let refused = |text: &str| text.is_empty() || controls(text, &['\t']);
    let (environment, carried) = lines(Syntax::Haproxy, "  setenv X{{ n }} {{ text }} # rest", refused);
    let answer = "  http-request return status 200 content-type text/plain lf-string {{ text | log_format }} if { path /{{ n }} }";
    let (answers, formatted) = lines(Syntax::Haproxy, answer, refused);
    let socket = |name| at(name).display().to_string();
    let config = format!(
        "global\n  tune.bufsize 262144\n  stats socket {} mode 600\n{environment}\
         defaults\n  mode http\n  timeout client 9s\n  timeout server 9s\n  timeout connect 9s\n\
         frontend f\n  bind unix@{}\n{answers}",
        socket("control"),
        socket("web"),
    );
    fs::write(at("haproxy.cfg"), config).unwrap();
    let mut command = unprivileged("haproxy", scratch.path());
    command.args(["-db", "-f"]).arg(at("haproxy.cfg"));
    let mut haproxy = Running::start(command, &at("log"));
    for (n, text) in carried {
        let shown = ask(haproxy.connect(&at("control"), &at("log")), &format!("show env X{n}\n"));
        assert_eq!(String::from_utf8_lossy(&shown), format!("X{n}={text}\n\n"));
    }
    for (n, text) in formatted {
        let body = body_of(haproxy.connect(&at("web"), &at("log")), &format!("/{n}"));
        assert_eq!(String::from_utf8_lossy(&body), text);
    }
}

#[test]
fn nginx_reads_exactly_the_text() {
    if !has("nginx") {
        return;
    }
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let refused = |text: &str| text.contains('$') || text.len() > 4000 || controls(text, &['\t']);
    let (locations, carried) = lines(Syntax::Nginx, "location = /{{ n }} { return 200 {{ text }}; } # rest", refused);
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {of};\n")).concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
         default_type text/plain;\nserver {{\nlisten unix:{};\n{locations}}}\n}}\n",
        at("web").display(),
    );
    fs::write(at("nginx.conf"), config).unwrap();
    let mut command = unprivileged("nginx", scratch.path());
    command.arg("-p").arg(scratch.path()).args(["-e", "stderr", "-c"]).arg(at("nginx.conf"));
    let mut nginx = Running::start(command, &at("log"));
    for (n, text) in carried {
        let body = body_of(nginx.connect(&at("web"), &at("log")), &format!("/{n}"));
        assert_eq!(String::from_utf8_lossy(&body), text);
    }
}

#[test]
fn php_reads_exactly_the_text() {
    if !has("php") {
        return;
    }
    let scratch = scratch();
    let (items, carried) = lines(Syntax::Php, "echo bin2hex({{ text }}), \"\\n\"; // rest", |text| text.contains('\0'));
    let script = scratch.path().join("x.php");
    fs::write(&script, format!("<?php\n{items}")).unwrap();
    let output = unprivileged("php", scratch.path()).args(["-n", "-f"]).arg(&script).output().unwrap();
    let expected: String = carried.iter().map(|(_, text)| hex(text.as_bytes()) + "\n").collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn json_is_read_back() {
    let (items, carried) = lines(Syntax::Json, "{\"text\": {{ text }}},", |_| false);
    let array: serde_json::Value =
        serde_json::from_str(&format!("[{}]", items.trim_end().trim_end_matches(','))).unwrap();
    let read: Vec<&str> = array.as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap()).collect();
    assert_eq!(read, carried.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>());
}

#[test]
fn systemd_reads_exactly_the_text() {
    const SYSTEMD: &str = "/usr/lib/systemd/systemd";
    if !has(SYSTEMD) {
        return;
    }
    let scratch = scratch();
    let refused = |text: &str| text.contains('$') || controls(text, &['\n', '\t']);
    let line = "Environment=A{{ n }}={{ text }} {{ \"B\" + n | text + \"=\" + text }}";
    let (environment, carried) = lines(Syntax::Systemd, line, refused);
    let unit = |name: &str, text: &str| fs::write(scratch.path().join(name), text).unwrap();
    for target in ["basic.target", "shutdown.target"] {
        unit(target, "[Unit]\nDefaultDependencies=no\n");
    }
    unit("default.target", "[Unit]\nDefaultDependencies=no\nWants=x.service\n");
    unit("x.service", &format!("[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/true\n{environment}"));
    // Loads the units, prints all it knows of them, and starts nothing.
    let output = unprivileged(SYSTEMD, scratch.path())
        .args(["--test", "--user"])
        .env("SYSTEMD_UNIT_PATH", scratch.path())
        .env("XDG_RUNTIME_DIR", scratch.path())
        .output()
        .unwrap();
    let dump = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    for (n, text) in carried {
        for name in ["A", "B"] {
            let shown = format!("\t\tEnvironment: {name}{n}={text}\n\t\t");
            assert!(dump.contains(&shown), "{text:?} is not read: {complaints}");
        }
    }
    assert_eq!(dump.matches("\tEnvironment: ").count(), environment.lines().count() * 2);
}

/// A cluster of PostgreSQL in a scratch directory, which listens there alone.
struct Cluster {
    _server: Running,
    programs: PathBuf,
    scratch: tempfile::TempDir,
}

impl Cluster {
    /// `None` where there is no PostgreSQL on this machine.
    fn start(configuration: &str, access: &str) -> Option<Cluster> {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let programs = versions.flatten().map(|entry| entry.path().join("bin")).find(|dir| dir.join("initdb").exists());
        let Some(programs) = programs else {
            has("/usr/lib/postgresql/15/bin/initdb");
            return None;
        };
        let scratch = scratch();
        let data = scratch.path().join("data");
        let output = unprivileged(programs.join("initdb"), scratch.path())
            .args(["--no-sync", "--no-instructions", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ours = format!(
            "\nlisten_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\n{configuration}",
            scratch.path().display()
        );
        let file = data.join("postgresql.conf");
        fs::write(&file, fs::read_to_string(&file).unwrap() + &ours).unwrap();
        fs::write(data.join("pg_hba.conf"), format!("{access}local all postgres trust\n")).unwrap();
        let mut command = unprivileged(programs.join("postgres"), scratch.path());
        command.arg("-D").arg(&data);
        let log = scratch.path().join("log");
        let mut server = Running::start(command, &log);
        server.connect(&scratch.path().join(".s.PGSQL.5432"), &log);
        Some(Cluster { _server: server, programs, scratch })
    }

    fn psql(&self, user: &str, password: &str, script: &str) -> Result<String, String> {
        let file = self.scratch.path().join("x.sql");
        fs::write(&file, script).unwrap();
        let mut tries = 0;
        loop {
            let output = unprivileged(self.programs.join("psql"), self.scratch.path())
                .args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-U", user, "-h"])
                .arg(self.scratch.path())
                .arg("-f")
                .arg(&file)
                .env("PGPASSWORD", password)
                .env("PGCLIENTENCODING", "UTF8")
                .output()
                .unwrap();
            let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
            tries += 1;
            match output.status.success() {
                true => return Ok(String::from_utf8(output.stdout).unwrap()),
                false if complaints.contains("starting up") && tries < 100 => sleep(Duration::from_millis(100)),
                false => return Err(complaints),
            }
        }
    }

    /// The same as the superuser, who makes no mistake.
    fn query(&self, script: &str) -> String {
        self.psql("postgres", "", script).unwrap()
    }
}

#[test]
fn postgresql_reads_exactly_the_text_and_lets_the_right_password_in() {
    let nul = |text: &str| text.contains('\0');
    let (configuration, configured) = lines(Syntax::Postgresql, "handoff.x{{ n }} = {{ text }} # rest", nul);
    let token = |text: &str| text.contains(['"', '\\']) || text.len() > 200 || controls(text, &[]);
    let (access, tokens) = lines(Syntax::PgHba, "local {{ text }} {{ text }} scram-sha-256 # rest", token);
    let access = format!("local all app scram-sha-256\n{access}");
    let Some(cluster) = Cluster::start(&configuration, &access) else { return };
    let expected = |carried: &[(usize, String)]| -> String {
        carried.iter().map(|(_, text)| hex(text.as_bytes()) + "\n").collect()
    };
    let shown = |expression: &str| format!("SELECT encode(convert_to({expression}, 'UTF8'), 'hex');\n");

    let script: String = configured.iter().map(|(n, _)| shown(&format!("current_setting('handoff.x{n}')"))).collect();
    assert_eq!(cluster.query(&script), expected(&configured));

    let rules = "SELECT encode(convert_to(user_name[1], 'UTF8'), 'hex') FROM pg_hba_file_rules WHERE error IS NULL AND \
                 database = user_name AND array_length(user_name, 1) = 1 ORDER BY line_number;";
    assert_eq!(cluster.query(rules), expected(&tokens));

    // As literals, whatever the server makes of backslashes, and within the body of a function.
    for conforming in ["on", "off"] {
        let (script, carried) = lines(Syntax::Sql, &shown("{{ text }}"), nul);
        let script =
            format!("SET standard_conforming_strings = {conforming};\nSET escape_string_warning = off;\n{script}");
        assert_eq!(cluster.query(&script), expected(&carried));
    }
    let line = format!(
        "DO $$ BEGIN PERFORM set_config('handoff.y', {{{{ text }}}}, false); END $$; {}",
        shown("current_setting('handoff.y')")
    );
    let (script, carried) = lines(Syntax::Sql, &line, nul);
    assert_eq!(cluster.query(&script), expected(&carried));

    // As names.
    let name = |text: &str| text.is_empty() || text.len() > 63 || text.contains('$') || controls(text, &[]);
    let (script, named) = lines(
        Syntax::Sql,
        "SELECT encode(convert_to(key, 'UTF8'), 'hex') FROM (SELECT 1 AS {{ text | identifier }}) x, json_each(row_to_json(x));",
        name,
    );
    assert_eq!(cluster.query(&script), expected(&named));

    let passwords = ["secret", "it's \"x\" \\ $$ %", " ", &"~".repeat(200)];
    for password in passwords {
        let values = Value::from_pairs([("password", Value::from(password)), ("instance", Value::from("db-1"))]);
        let text = "DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN PASSWORD {{ password | scram('app') }};";
        let script = render(&Template { name: "test", text, syntax: Syntax::Sql }, &values, MAX_RENDERED).unwrap();
        cluster.query(&script);
        assert_eq!(cluster.psql("app", password, "SELECT current_user;").unwrap(), "app\n");
        assert!(cluster.psql("app", "another", "SELECT 1;").unwrap_err().contains("password authentication failed"));
    }
    assert_eq!(
        cluster.query("SELECT rolpassword ~ '^SCRAM-SHA-256[$]4096:' FROM pg_authid WHERE rolname = 'app';"),
        "t\n"
    );
}
