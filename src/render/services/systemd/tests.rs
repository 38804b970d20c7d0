use crate::class::{Class, Resolved};
use crate::commit::state::{Owned, State, Trace};
use crate::error::Result;
use crate::guest::{Facts, GuestPath, Node, Tree};
use crate::plan::Desired;
use crate::render::Context;
use crate::settings::{EnvironmentName, EnvironmentVariable, Service, Settings, SingleLine, UnitName};

const HAPROXY: &str = "[Unit]\nDescription=HAProxy Load Balancer\nAfter=network-online.target\n\n[Service]\nType=notify\n\
    ExecStart=/usr/sbin/haproxy -Ws\n\n[Install]\nWantedBy=multi-user.target\n";
const SSH: &str = "[Unit]\nDescription=OpenBSD Secure Shell server\n[Service]\nExecStart=/usr/sbin/sshd -D\n\
    [Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n";
const GETTY: &str = "[Service]\nExecStart=-/sbin/agetty %I\n[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n";

fn image() -> Tree {
    Tree::new()
        .with("/usr/lib/systemd/systemd", "")
        .with_node("/lib", Node::link("usr/lib"))
        .with("/usr/lib/systemd/system/haproxy.service", HAPROXY)
        .with("/usr/lib/systemd/system/ssh.service", SSH)
        .with("/usr/lib/systemd/system/getty@.service", GETTY)
        .with("/usr/lib/systemd/system/static.service", "[Service]\nExecStart=/bin/true\n")
        .with_node("/usr/lib/systemd/system/vendor-masked.service", Node::link("/dev/null"))
        .with_node(
            "/etc/systemd/system/getty.target.wants/getty@tty1.service",
            Node::link("/lib/systemd/system/getty@.service"),
        )
        .with_node("/etc/systemd/system/sshd.service", Node::link("/lib/systemd/system/ssh.service"))
        .with_node(
            "/etc/systemd/system/multi-user.target.wants/ssh.service",
            Node::link("/lib/systemd/system/ssh.service"),
        )
}

fn service(name: &str, enabled: Option<bool>, masked: bool) -> Service {
    Service { name: UnitName::parse(name).unwrap(), enabled, masked, environment: Vec::new() }
}

fn render_with(tree: &Tree, state: &State, services: Vec<Service>) -> Result<Desired> {
    let settings = Settings { services, ..Settings::default() };
    let facts = Facts::default();
    let mut desired = Desired::new();
    let context = Context {
        settings: &settings,
        class: &Class::default(),
        resolved: &Resolved::default(),
        guest: tree,
        previous: state,
        facts: &facts,
    };
    super::super::render(&context, &mut desired)?;
    Ok(desired)
}

fn render(tree: &Tree, service: Service) -> Result<Desired> {
    render_with(tree, &State::default(), vec![service])
}

/// Paths and targets, `-` for nothing.
fn shown(desired: &Desired) -> Vec<String> {
    let one = |(path, entry): (&GuestPath, &crate::plan::Entry)| match &entry.node {
        Some(Node::Link(target)) => format!("{path} -> {target}"),
        None => format!("{path} -"),
        Some(node) => format!("{path} {node:?}"),
    };
    desired.entries().iter().map(one).collect()
}

#[test]
fn an_enabled_service_is_linked_in_the_spelling_of_the_image() {
    let desired = render(&image(), service("haproxy", Some(true), false)).unwrap();
    let link = "/etc/systemd/system/multi-user.target.wants/haproxy.service -> /lib/systemd/system/haproxy.service";
    assert_eq!(shown(&desired), [link]);
    let bare =
        Tree::new().with("/usr/lib/systemd/systemd", "").with("/usr/lib/systemd/system/haproxy.service", HAPROXY);
    let desired = render(&bare, service("haproxy", Some(true), false)).unwrap();
    let link = "/etc/systemd/system/multi-user.target.wants/haproxy.service -> /usr/lib/systemd/system/haproxy.service";
    assert_eq!(shown(&desired), [link]);
}

#[test]
fn a_disabled_service_loses_its_links_and_its_other_names() {
    for name in ["ssh", "sshd"] {
        let desired = render(&image(), service(name, Some(false), false)).unwrap();
        assert_eq!(
            shown(&desired),
            ["/etc/systemd/system/multi-user.target.wants/ssh.service -", "/etc/systemd/system/sshd.service -"]
        );
    }
}

#[test]
fn what_was_taken_away_the_last_time_is_still_taken_away() {
    let mut tree = image();
    let mut state = State::default();
    for path in ["/etc/systemd/system/multi-user.target.wants/ssh.service", "/etc/systemd/system/sshd.service"] {
        let path = GuestPath::of(path);
        tree.remove(&path);
        let replaced = Trace::Link { target: "/lib/systemd/system/ssh.service".into() };
        state.owned.insert(path, Owned { ours: Trace::Absent, replaced });
    }
    let again = render_with(&tree, &state, vec![service("ssh", Some(false), false)]).unwrap();
    let first = render(&image(), service("ssh", Some(false), false)).unwrap();
    assert_eq!(shown(&again), shown(&first));
    assert_eq!(first.entries().len(), 2);
}

#[test]
fn a_mask_of_ours_does_not_hide_the_unit_when_the_settings_change() {
    let mask = GuestPath::of("/etc/systemd/system/haproxy.service");
    let mut tree = image();
    tree.put(mask.clone(), Node::link("/dev/null"));
    let mut state = State::default();
    let ours = Trace::Link { target: "/dev/null".into() };
    state.owned.insert(mask.clone(), Owned { ours, replaced: Trace::Absent });
    let desired = render_with(&tree, &state, vec![service("haproxy", Some(true), false)]).unwrap();
    assert!(desired.entry(&mask).is_none(), "the planner gives back what was there: nothing");
    assert_eq!(desired.entries().len(), 1);
}

#[test]
fn a_mask_of_the_image_is_taken_away_for_an_enabled_service() {
    let tree = image().with_node("/etc/systemd/system/haproxy.service", Node::link("/dev/null"));
    let desired = render(&tree, service("haproxy", Some(true), false)).unwrap();
    assert_eq!(shown(&desired).first().unwrap(), "/etc/systemd/system/haproxy.service -");
    assert_eq!(desired.entries().len(), 2);
    let masked = render(&image(), service("haproxy", None, true)).unwrap();
    assert_eq!(shown(&masked), ["/etc/systemd/system/haproxy.service -> /dev/null"]);
}

#[test]
fn what_cannot_be_is_an_error_with_a_remedy() {
    let error = |name: &str| render(&image(), service(name, Some(true), false)).unwrap_err().to_string();
    assert_eq!(
        error("haproxi"),
        "service `haproxi.service`: the image has no such unit; did you mean haproxy.service?"
    );
    let script = image().with("/etc/init.d/old", "#!/bin/sh\n");
    let old = render(&script, service("old", Some(true), false)).unwrap_err();
    assert!(old.problem().contains("/etc/init.d"), "{old}");
    assert!(error("static").contains("is static"));
    assert!(error("vendor-masked").contains("masked by the image"));
    let no_init = Tree::new().with("/sbin/init", "");
    let no_init = render(&no_init, service("haproxy", Some(true), false)).unwrap_err();
    assert!(no_init.problem().contains("no init"));
    // Other settings help against the one, and another image alone against the other.
    assert_eq!((old.class(), no_init.class()), (crate::Class::Invalid, crate::Class::NotApplied));
}

#[test]
fn units_that_name_each_other_end() {
    let tree = image()
        .with("/usr/lib/systemd/system/a.service", "[Install]\nWantedBy=x.target\nAlso=b.service gone.service")
        .with("/usr/lib/systemd/system/b.service", "[Install]\nWantedBy=x.target\nAlso=a.service")
        .with_node("/usr/lib/systemd/system/l.service", Node::link("m.service"))
        .with_node("/usr/lib/systemd/system/m.service", Node::link("l.service"));
    let both = ["/etc/systemd/system/x.target.wants/a.service", "/etc/systemd/system/x.target.wants/b.service"];
    let desired = render(&tree, service("a", Some(true), false)).unwrap();
    assert_eq!(desired.entries().keys().map(GuestPath::as_str).collect::<Vec<_>>(), both);
    assert!(render(&tree, service("l", Some(true), false)).unwrap_err().problem().contains("alias of itself"));
    // What the settings say of a unit themselves counts more than another unit's `Also=`.
    let services = vec![service("a", Some(true), false), service("b", Some(false), false)];
    let desired = render_with(&tree, &State::default(), services).unwrap();
    assert_eq!(desired.entries().len(), 1);
}

#[test]
fn an_environment_is_in_a_file_for_root_only_and_its_debug_is_silent() {
    let mut wanted = service("haproxy", None, false);
    let value = SingleLine::parse("a \"b\" \\ $HOME `id` 'c' #d %i").unwrap();
    wanted.environment.push(EnvironmentVariable { name: EnvironmentName::parse("MODE").unwrap(), value });
    let desired = render(&image(), wanted).unwrap();
    let entry = desired.entry(&GuestPath::of("/etc/handoff/environment/haproxy.service")).unwrap();
    assert!(entry.secret);
    let Some(Node::File(file)) = &entry.node else { panic!("no file") };
    assert_eq!(file.mode, 0o600);
    let text = String::from_utf8(file.content.clone()).unwrap();
    assert!(text.ends_with("\nMODE=\"a \\\"b\\\" \\\\ \\$HOME \\`id\\` 'c' #d %i\"\n"), "{text}");
    let drop_in = desired.entry(&GuestPath::of("/etc/systemd/system/haproxy.service.d/90-handoff.conf")).unwrap();
    assert!(!drop_in.secret);
    let mut socket = service("x.socket", None, false);
    socket.environment.push(EnvironmentVariable {
        name: EnvironmentName::parse("A").unwrap(),
        value: SingleLine::parse("b").unwrap(),
    });
    let tree = image().with("/usr/lib/systemd/system/x.socket", "[Socket]\nListenStream=1\n");
    assert!(render(&tree, socket).is_err());
}
