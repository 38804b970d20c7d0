//! Whether the appliance does what it is for: probes, asked again and again until all of them pass or the time is over.
//!
//! They ask on the loopback and run what the image holds. Each attempt has a deadline of its own, and none goes on past the
//! one of all.

use crate::platform;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that a class may let an appliance take. `TimeoutStartSec` of `handoff-ready.service` is longer.
pub const MAX_DEADLINE: Duration = Duration::from_secs(600);

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(250);
/// With less than this left no round is begun, for its answer would only be that there was no time.
const SHORTEST: Duration = Duration::from_millis(50);
const TCP_DEADLINE: Duration = Duration::from_secs(1);
const HTTP_DEADLINE: Duration = Duration::from_secs(2);
const UNIT_DEADLINE: Duration = Duration::from_secs(5);
/// The longest of one question: a command may take so long to answer.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes that are read of an answer to get to the end of its first line.
const MAX_STATUS_LINE: u64 = 4096;
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// One question to the appliance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Probe {
    /// Something takes connections at this port of 127.0.0.1 or ::1.
    Tcp {
        /// The port.
        port: u16,
    },
    /// A server there answers a GET with this status.
    Http {
        /// The port.
        port: u16,
        /// What is asked for: graphic ASCII, beginning with `/`.
        path: String,
        /// The status.
        status: u16,
    },
    /// This unit of systemd is active.
    Unit(String),
    /// This command, absolute program first, ends with 0.
    Command(Vec<String>),
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Probe::Tcp { port } => write!(f, "tcp {port}"),
            Probe::Http { port, path, .. } => write!(f, "http {port}{path}"),
            Probe::Unit(name) => f.write_str(name),
            Probe::Command(words) => f.write_str(program(words)),
        }
    }
}

/// Waits until every probe passes, one after the other, in the same round. Returns how long it took.
///
/// # Errors
/// The deadline is over: why the probe that failed in the last round did so.
pub fn wait(probes: &[Probe], deadline: Duration) -> Result<Duration, String> {
    let start = Instant::now();
    let end = start + deadline;
    let mut before = None;
    loop {
        let Some(mut reason) = probes.iter().find_map(|probe| ask(probe, end).err()) else {
            return Ok(start.elapsed());
        };
        let left = end.saturating_duration_since(Instant::now());
        // An attempt that the end cut short knows less than the one before.
        if left.is_zero() {
            reason = before.unwrap_or(reason);
        }
        if left < PAUSE + SHORTEST {
            std::thread::sleep(left);
            return Err(reason);
        }
        before = Some(reason);
        std::thread::sleep(PAUSE);
    }
}

fn ask(probe: &Probe, end: Instant) -> Result<(), String> {
    match probe {
        Probe::Tcp { port } => connect(*port, end).map(drop),
        Probe::Http { port, path, status } => http(*port, path, *status, end),
        Probe::Unit(name) => unit(name, end),
        Probe::Command(words) => command(words, end),
    }
}

/// What is left of a deadline of one attempt. Never nothing, which would be no deadline for some calls.
fn left(longest: Duration, end: Instant) -> Duration {
    longest.min(end.saturating_duration_since(Instant::now())).max(Duration::from_millis(1))
}

/// A connection to a port of this machine: 127.0.0.1, then ::1.
fn connect(port: u16, end: Instant) -> Result<TcpStream, String> {
    let attempt =
        |address: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(address, port), left(TCP_DEADLINE, end));
    let open =
        attempt(Ipv4Addr::LOCALHOST.into()).or_else(|first| attempt(Ipv6Addr::LOCALHOST.into()).map_err(|_| first));
    match open {
        // With nobody at a high port the kernel may choose that same port for our end, and connect us to ourselves.
        Ok(open) if open.local_addr().ok() == open.peer_addr().ok() => Err(format!("port {port} refuses connections")),
        Ok(open) => Ok(open),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("port {port} refuses connections"),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("port {port} does not answer"),
            _ => format!("port {port}: {error}"),
        }),
    }
}

fn http(port: u16, path: &str, wanted: u16, end: Instant) -> Result<(), String> {
    let end = end.min(Instant::now() + HTTP_DEADLINE);
    let mut open = connect(port, end)?;
    let mut answer = Vec::new();
    let exchange = || -> io::Result<()> {
        open.set_write_timeout(Some(left(HTTP_DEADLINE, end)))?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        open.write_all(request.as_bytes())?;
        let mut bounded = open.take(MAX_STATUS_LINE);
        let mut some = [0; 512];
        while !answer.contains(&b'\n') {
            // A server that sends a byte from time to time does not get more of it.
            if Instant::now() >= end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            bounded.get_ref().set_read_timeout(Some(left(HTTP_DEADLINE, end)))?;
            match bounded.read(&mut some)? {
                0 => break,
                length => answer.extend_from_slice(some.get(..length).unwrap_or_default()),
            }
        }
        Ok(())
    };
    let asked = format!("http://localhost:{port}{path}");
    match exchange() {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            return Err(format!("{asked} does not answer"));
        }
        Err(error) => return Err(format!("{asked}: {error}")),
    }
    match status_of(&answer) {
        Some(status) if status == wanted => Ok(()),
        Some(status) => Err(format!("{asked} answers {status}, not {wanted}")),
        None => Err(format!("{asked} answers, but not in HTTP")),
    }
}

/// The status in the first line of an answer: `HTTP/1.1 200 OK`.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|&byte| byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|status| status.len() == 3)?.parse().ok()
}

fn unit(name: &str, end: Instant) -> Result<(), String> {
    match run(&[SYSTEMCTL, "is-active", "--quiet", "--", name], left(UNIT_DEADLINE, end)) {
        Ok(Some(0)) => Ok(()),
        Ok(Some(_)) => Err(format!("{name} is not active")),
        Ok(None) => Err(format!("systemd does not say whether {name} is active")),
        Err(error) => Err(format!("{SYSTEMCTL}: {error}")),
    }
}

/// Starts units again: those that run, and those that have failed, however often. One that was stopped stays so. What goes wrong
/// shows when they are looked at.
pub fn start_again<'a>(units: impl Iterator<Item = &'a str>) {
    for unit in units {
        let systemctl = |words: &[&str]| {
            let words: Vec<&str> = [SYSTEMCTL].iter().chain(words).chain(&["--", unit]).copied().collect();
            matches!(run(&words, UNIT_DEADLINE), Ok(Some(0)))
        };
        if systemctl(&["is-failed", "--quiet"]) {
            // A unit that failed too often in a short time is not started by just asking for it.
            systemctl(&["reset-failed"]);
            systemctl(&["--no-block", "start"]);
        } else {
            systemctl(&["--no-block", "try-restart"]);
        }
    }
}

fn command(words: &[String], end: Instant) -> Result<(), String> {
    let longest = left(COMMAND_DEADLINE, end);
    let program = program(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words, longest) {
        Ok(Some(0)) => Ok(()),
        Ok(Some(code)) if code >= 0 => Err(format!("{program} ends with exit code {code}")),
        Ok(Some(_)) => Err(format!("{program} was killed")),
        Ok(None) => Err(format!("{program} does not end")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

fn program(words: &[String]) -> &str {
    words.first().map_or("", String::as_str)
}

/// Runs what the image holds, with almost no environment. `None`: it did not end in time, and was stopped with what it had
/// started; -1: it was killed.
fn run(words: &[&str], longest: Duration) -> io::Result<Option<i32>> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    platform::own_group(&mut command);
    let status = platform::run_with_deadline(&mut command, longest)?;
    Ok(status.map(|status| status.code().unwrap_or(-1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    fn closed_port() -> u16 {
        listener().1
    }

    /// A server that says this to everybody, and waits before.
    fn server(answer: &'static str, pause: Duration) -> u16 {
        let (listener, port) = listener();
        thread::spawn(move || {
            for mut open in listener.incoming().flatten() {
                thread::sleep(pause);
                let mut request = [0; 512];
                let length = open.read(&mut request).unwrap_or(0);
                assert!(request[..length].starts_with(b"GET /health HTTP/1.0\r\n"));
                let _ = open.write_all(answer.as_bytes());
            }
        });
        port
    }

    fn http(port: u16) -> Probe {
        Probe::Http { port, path: "/health".into(), status: 200 }
    }

    #[test]
    fn an_open_port_is_ready_at_once_and_so_is_no_probe() {
        let (_listener, port) = listener();
        assert!(wait(&[Probe::Tcp { port }], Duration::from_secs(5)).unwrap() < Duration::from_secs(1));
        assert!(wait(&[], Duration::ZERO).is_ok());
    }

    #[test]
    fn a_port_of_the_other_loopback_counts() {
        let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
        let port = listener.local_addr().unwrap().port();
        assert!(wait(&[Probe::Tcp { port }], Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn a_closed_port_is_waited_for_until_the_deadline_and_no_longer() {
        let (port, start) = (closed_port(), Instant::now());
        let reason = wait(&[Probe::Tcp { port }], Duration::from_millis(700)).unwrap_err();
        assert_eq!(reason, format!("port {port} refuses connections"));
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(700) && took < Duration::from_millis(1500), "{took:?}");
    }

    #[test]
    fn a_late_server_is_ready_when_it_is_there() {
        let port = closed_port();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(600));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            thread::sleep(Duration::from_secs(20));
            drop(listener);
        });
        let took = wait(&[Probe::Tcp { port }], Duration::from_secs(15)).unwrap();
        assert!(took >= Duration::from_millis(500), "{took:?}");
    }

    #[test]
    fn the_status_of_an_answer_counts_and_not_that_there_is_one() {
        let good = server("HTTP/1.1 200 OK\r\n\r\nhello", Duration::ZERO);
        assert!(wait(&[http(good)], Duration::from_secs(5)).is_ok());
        let sick = server("HTTP/1.1 503 Service Unavailable\r\n\r\n", Duration::ZERO);
        let reason = wait(&[http(good), http(sick)], Duration::from_millis(400)).unwrap_err();
        assert_eq!(reason, format!("http://localhost:{sick}/health answers 503, not 200"));
        let other = server("SSH-2.0-OpenSSH_9.2 200\r\n", Duration::ZERO);
        let reason = wait(&[http(other)], Duration::from_millis(400)).unwrap_err();
        assert_eq!(reason, format!("http://localhost:{other}/health answers, but not in HTTP"));
    }

    #[test]
    fn a_server_that_never_answers_does_not_hold_us() {
        // It accepts, because the kernel does, and nobody ever reads.
        let (_listener, port) = listener();
        let start = Instant::now();
        let reason = wait(&[http(port)], Duration::from_millis(600)).unwrap_err();
        assert_eq!(reason, format!("http://localhost:{port}/health does not answer"));
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    }

    #[test]
    fn a_server_that_sends_byte_by_byte_does_not_hold_us() {
        let (listener, port) = listener();
        thread::spawn(move || {
            for mut open in listener.incoming().flatten() {
                while open.write_all(b"H").is_ok() {
                    thread::sleep(Duration::from_millis(50));
                }
            }
        });
        let start = Instant::now();
        assert!(wait(&[http(port)], Duration::from_millis(500)).is_err());
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    }

    #[test]
    fn a_command_is_asked_again_and_stopped_at_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let words = |script: String| Probe::Command(vec!["/bin/sh".into(), "-c".into(), script]);
        let second = words(format!("test -e {0} || {{ : >{0}; exit 3; }}", mark.display()));
        assert!(wait(std::slice::from_ref(&second), Duration::from_secs(10)).unwrap() >= PAUSE);
        let never = wait(&[words("exit 3".into())], Duration::from_millis(400)).unwrap_err();
        assert_eq!(never, "/bin/sh ends with exit code 3");
        let late = directory.path().join("late");
        let start = Instant::now();
        let hangs = words(format!("(sleep 2; : >{}) & sleep 60", late.display()));
        assert_eq!(wait(&[hangs], Duration::from_millis(500)).unwrap_err(), "/bin/sh does not end");
        assert!(start.elapsed() < Duration::from_millis(1800), "{:?}", start.elapsed());
        thread::sleep(Duration::from_millis(2500));
        assert!(!late.exists(), "what the command had started went on");
        let absent = Probe::Command(vec!["/nothing".into()]);
        assert!(wait(&[absent], Duration::from_millis(300)).unwrap_err().starts_with("/nothing: "));
    }

    #[test]
    fn a_command_finds_nothing_of_our_environment() {
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let script = r#"[ -z "$CARGO_PKG_NAME$HOME" ] && [ "$LC_ALL" = C ]"#;
        let words = Probe::Command(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
        assert_eq!(wait(&[words], Duration::from_secs(5)).map(drop), Ok(()));
    }

    #[test]
    fn a_status_line_is_read_and_nothing_else_is_taken_for_one() {
        assert_eq!(status_of(b"HTTP/1.0 204 No Content\r\n"), Some(204));
        assert_eq!(status_of(b"HTTP/1.1 200\n"), Some(200));
        for wrong in ["", "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 2000 x", "HTTP/2 200", "x 200", "HTTP/1.1\n200"] {
            assert_eq!(status_of(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_attempt_that_the_end_cuts_short_does_not_hide_the_reason_before() {
        // It fails at first, and then hangs.
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("asked");
        let script = format!("[ -e {0} ] && exec sleep 60; : >{0}; exit 7", mark.display());
        let probes = [Probe::Command(["/bin/sh", "-c", &script].map(str::to_owned).to_vec())];
        let reason = wait(&probes, Duration::from_millis(1500)).unwrap_err();
        assert_eq!(reason, "/bin/sh ends with exit code 7");
    }
}
