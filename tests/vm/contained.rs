//! The limits of the units, seen from inside: by what the agent starts, in a real boot. That its own work can be done within them
//! is shown by all the other tests with the agent as a service.

use crate::harness::{Container, Image, Layer, Machine, RootDisk, RunAs, Scratch, pack, trusted_line};
use std::time::Duration;

/// A checker and a probe: the code that it ends with is the number of the first thing that is not so.
const LOOK: &str = r#"#!/bin/sh
is() { grep -q "^$1:[[:space:]]*$2\$" /proc/self/status || exit "$3"; }
fails() { code=$1; shift; "$@" >/dev/null 2>&1 && exit "$code"; }
works() { code=$1; shift; "$@" >/dev/null 2>&1 || exit "$code"; }
is NoNewPrivs 1 21
is Seccomp 2 22
# What CapabilityBoundingSet= names, and nothing more.
is CapEff 00000000212414fb 23
is CapBnd 00000000212414fb 24
fails 25 unshare --user true
fails 26 unshare --uts true
works 27 unshare --mount --pid --fork --net --ipc true
works 28 head -c 512 /dev/vda
fails 29 sh -c ': <>/dev/vda'
fails 30 mknod /dev/shm/disk b 254 0
fails 31 date --set=2030-01-01
fails 32 dmesg
works 33 runuser -u nobody -- true
[ "$(umask)" = 0077 ] || exit 34
[ -z "$INVOCATION_ID$NOTIFY_SOCKET$JOURNAL_STREAM$HOME" ] || exit 35
case $1 in
judge)
  grep -q 'by-the-class' /var/appliance.conf || exit 40
  # Everything lies in the picture as it is, special bits too.
  [ "$(stat -c %a /var/mail)" = 2775 ] || exit 41
  [ "$(grep -c : /proc/net/dev)" = 1 ] || exit 42
  [ "$(cat /proc/sys/net/ipv4/ip_nonlocal_bind)" = 1 ] || exit 43 ;;
probe)
  read -r group </proc/self/cgroup
  [ "$(cat "/sys/fs/cgroup${group#0::}/pids.max")" = 512 ] || exit 50
  fails 51 sh -c "echo 1 >'/sys/fs/cgroup${group#0::}/pids.max'" ;;
esac
exit 0
"#;

const CLASS: &str = r#"{ "version": 1, "class": "contained", "policy": { "failure": "continue" },
  "fields": { "word": { "type": "string", "default": "by-the-class", "help": "A word" } },
  "templates": [{ "text": "{{ word }}\n", "target": "/var/appliance.conf", "syntax": "json",
    "check": ["/usr/lib/look", "judge"] }],
  "ready": { "deadline": "30s", "probes": [{ "command": ["/usr/lib/look", "probe"] }] } }"#;

#[test]
fn what_the_units_start_has_the_limits_of_the_units_and_can_do_its_work() {
    let scratch = Scratch::new();
    let signer = scratch.ssh_key("signer");
    let layer = Layer::of_class(CLASS, &trusted_line(&signer)).file("/usr/lib/look", 0o755, LOOK);
    let settings =
        r#"{ "version": 1, "instance": { "id": "one", "serial": 1 }, "appliance": { "class": "contained" } }"#;
    let disk = pack(&scratch, "settings", settings, &signer);
    let root = RootDisk::new(Image::debian(), &layer);
    let builder = Machine::builder(Image::debian(), "contained", &root).run_as(RunAs::Service).disk(&disk);
    let mut machine = builder.deadline(Duration::from_secs(400)).boot();
    let line = machine.wait_for_line("handoff: ", Duration::from_secs(200));
    assert!(line.contains("handoff: applied one serial 1 (generation 1, on trial)"), "{line}");
    machine.wait_for_line("the trial of one serial 1 (generation 1) is over", Duration::from_secs(200));
    machine.power_off();
}

#[test]
fn the_init_has_the_umask_and_the_environment_that_the_kernel_gave_to_pid_1() {
    let init = "#!/bin/sh\necho \"umask $(umask)\"\necho \"mark $MARK\"\nstat -c '%a %n' /run/handoff/init\nexit 7\n";
    let class =
        r#"{ "version": 1, "policy": { "settings": "optional", "wait_seconds": 0, "init": "/usr/lib/own-init" } }"#;
    let layer =
        Layer::new().agent().file("/usr/lib/handoff/class.json", 0o644, class).file("/usr/lib/own-init", 0o755, init);
    let container = Container::new(Image::debian(), &layer);
    let finished = container.run(&["/usr/sbin/handoff-agent"], &["--setenv=MARK=kernel"], Duration::from_secs(60));
    for line in ["umask 0022", "mark kernel", "644 /run/handoff/init"] {
        assert!(finished.console.lines().any(|found| found == line), "no `{line}` in:\n{}", finished.console);
    }
    assert_eq!(finished.status.code(), Some(7));
}
