//! The image of the trial: as much of a Debian root as settings touch, without anything that runs.

use crate::class::Class;
use crate::document::Value;
use crate::error::Result;
use crate::operator::catalog::judge::Found;
use crate::settings::Settings;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;

/// A regular file of the image: path, mode, content.
type File = (&'static str, u32, &'static str);

const FILES: &[File] = &[
    ("etc/os-release", 0o644, "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
    ("etc/debian_version", 0o644, "12.11\n"),
    ("etc/hostname", 0o644, "image\n"),
    ("etc/hosts", 0o644, "127.0.0.1\tlocalhost\n127.0.1.1\timage\n::1\tlocalhost ip6-localhost ip6-loopback\n"),
    ("etc/machine-id", 0o444, "0123456789abcdef0123456789abcdef\n"),
    ("etc/timezone", 0o644, "Etc/UTC\n"),
    ("etc/default/locale", 0o644, "LANG=C.UTF-8\n"),
    ("etc/locale.conf", 0o644, "LANG=C.UTF-8\n"),
    ("etc/motd", 0o644, "This is the image.\n"),
    ("etc/resolv.conf", 0o644, "nameserver 192.0.2.1\n"),
    (
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/bash\n\
         daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
         www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
         systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin\n\
         haproxy:x:101:103::/var/lib/haproxy:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    (
        "etc/shadow",
        0o640,
        "root:*:19800:0:99999:7:::\n\
         daemon:*:19800:0:99999:7:::\n\
         www-data:*:19800:0:99999:7:::\n\
         systemd-network:!*:19800::::::\n\
         haproxy:!:19800::::::\n\
         nobody:*:19800:0:99999:7:::\n",
    ),
    (
        "etc/group",
        0o644,
        "root:x:0:\ndaemon:x:1:\nadm:x:4:\nsudo:x:27:\nwww-data:x:33:\nshadow:x:42:\nusers:x:100:\n\
         systemd-network:x:998:\nhaproxy:x:103:\nnogroup:x:65534:\n",
    ),
    (
        "etc/gshadow",
        0o640,
        "root:*::\ndaemon:*::\nadm:*::\nsudo:*::\nwww-data:*::\nshadow:*::\nusers:*::\n\
         systemd-network:!*::\nhaproxy:!::\nnogroup:*::\n",
    ),
    ("etc/shells", 0o644, "/bin/sh\n/bin/bash\n/usr/bin/bash\n"),
    ("etc/login.defs", 0o644, "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\n"),
    ("etc/skel/.profile", 0o644, "umask 022\n"),
    ("etc/sudoers", 0o440, "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"),
    ("etc/sudoers.d/README", 0o440, "# What is here is read after /etc/sudoers.\n"),
    ("etc/ssh/sshd_config", 0o644, "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\n"),
    ("etc/ssh/ssh_host_ed25519_key", 0o600, "the key of the image, which no clone may keep\n"),
    ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, "the public key of the image\n"),
    ("etc/haproxy/haproxy.cfg", 0o644, "global\n    daemon\n"),
    ("usr/bin/bash", 0o755, ""),
    ("usr/bin/sh", 0o755, ""),
    ("usr/bin/sudo", 0o755, ""),
    ("usr/sbin/sshd", 0o755, ""),
    ("usr/sbin/nologin", 0o755, ""),
    ("usr/sbin/visudo", 0o755, ""),
    ("usr/lib/systemd/systemd", 0o755, ""),
    ("usr/lib/systemd/systemd-networkd", 0o755, ""),
    ("usr/lib/locale/locale-archive", 0o644, ""),
    ("usr/share/zoneinfo/tzdata.zi", 0o644, "# version 2025b\n"),
    ("var/lib/haproxy/.keep", 0o644, ""),
];

/// Units: name, `[Install]` section.
const UNITS: &[(&str, &str)] = &[
    ("haproxy.service", "WantedBy=multi-user.target\n"),
    ("rsync.service", "WantedBy=multi-user.target\n"),
    ("ssh.service", "WantedBy=multi-user.target\nAlias=sshd.service\n"),
    (
        "systemd-networkd.service",
        "WantedBy=multi-user.target\nAlias=dbus-org.freedesktop.network1.service\nAlso=systemd-networkd.socket\n",
    ),
    ("systemd-networkd.socket", "WantedBy=sockets.target\n"),
    ("systemd-networkd-wait-online.service", "WantedBy=network-online.target\n"),
    ("systemd-resolved.service", "WantedBy=sysinit.target\nAlias=dbus-org.freedesktop.resolve1.service\n"),
    ("apt-daily.timer", "WantedBy=timers.target\n"),
    ("multi-user.target", ""),
];

const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
    ("etc/systemd/system/multi-user.target.wants/ssh.service", "/lib/systemd/system/ssh.service"),
    ("etc/systemd/system/multi-user.target.wants/rsync.service", "/lib/systemd/system/rsync.service"),
    ("etc/systemd/system/timers.target.wants/apt-daily.timer", "/lib/systemd/system/apt-daily.timer"),
];

const DIRECTORIES: &[&str] =
    &["dev", "home", "proc", "root", "run", "sys", "tmp", "var/lib", "etc/systemd/network", "etc/ssh/sshd_config.d"];

/// A class that takes these settings: it has the fields that they give, each of the type that its value has.
fn class_for(settings: &Settings) -> String {
    let name = settings.appliance.as_ref().map_or("generic", |appliance| appliance.class.as_str());
    let fields = settings.fields.names().map(|name| {
        let kind = match settings.fields.value(name).map(|at| at.node().value().clone()) {
            Some(Value::Bool(_)) => r#""type": "boolean""#,
            Some(Value::Number(number)) if number.is_f64() => r#""type": "decimal""#,
            Some(Value::Number(_)) => r#""type": "integer""#,
            Some(Value::List(_)) => r#""type": "list", "max_items": 1024, "items": { "type": "string" }"#,
            _ => r#""type": "string", "max_length": 65536, "multiline": true"#,
        };
        format!("{}: {{ {kind}, \"help\": \"a field of these settings\" }}", serde_json::Value::from(name))
    });
    let fields = fields.collect::<Vec<_>>().join(", ");
    format!("{{ \"version\": 1, \"class\": \"{name}\", \"fields\": {{ {fields} }} }}\n")
}

/// Units, users and groups that a class speaks of, which its own image would have.
fn class_parts(root: &Path, class: &Class) -> io::Result<()> {
    let changed = class.templates.iter().flat_map(|template| template.reload.iter().chain(&template.restart));
    for unit_name in class.services.iter().chain(changed) {
        if !root.join("usr/lib/systemd/system").join(unit_name.as_str()).exists() {
            unit(root, unit_name.as_str(), "WantedBy=multi-user.target\n")?;
        }
    }
    for (file, rest) in [("etc/group", ""), ("etc/passwd", ":/nonexistent:/usr/sbin/nologin")] {
        let mut text = fs::read_to_string(root.join(file))?;
        for (number, template) in (900..).zip(&class.templates) {
            let name = if rest.is_empty() { &template.group } else { &template.owner };
            if text.lines().any(|line| line.split(':').next() == Some(name.as_str())) {
                continue;
            }
            text.push_str(&match rest {
                "" => format!("{name}:x:{number}:\n"),
                rest => format!("{name}:x:{number}:{number}:{rest}\n"),
            });
        }
        write(root, file, 0o644, text.as_bytes())?;
    }
    Ok(())
}

/// The class without the commands that judge its files: the programs are in its own image, and not here.
fn without_checks(json: &[u8]) -> String {
    let mut class: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    for template in class.get_mut("templates").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
        template.as_object_mut().and_then(|template| template.remove("check"));
    }
    class.to_string()
}

/// Makes the image in an empty directory, with this line as its only trusted key. Services, time zone, class and machine
/// that the settings speak of are there too, so that a trial need not be of the example.
///
/// # Errors
/// The directory cannot be written.
pub(super) fn make(root: &Path, trusted_key: &str, settings: &Settings, found: &Found) -> io::Result<()> {
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory))?;
    }
    for (path, mode, content) in FILES {
        write(root, path, *mode, content.as_bytes())?;
    }
    for (name, install) in UNITS {
        unit(root, name, install)?;
    }
    for service in &settings.services {
        let name = service.name.to_string();
        let name = if name.contains('.') { name } else { format!("{name}.service") };
        // An instance of a template has no file of its own.
        let name = match name.split_once('@') {
            Some((template, rest)) => format!("{template}@.{}", rest.rsplit('.').next().unwrap_or("service")),
            None => name,
        };
        if !root.join("usr/lib/systemd/system").join(&name).exists() {
            unit(root, &name, "WantedBy=multi-user.target\n")?;
        }
    }
    let zones = ["Etc/UTC".to_owned()].into_iter().chain(settings.timezone.iter().map(ToString::to_string));
    for zone in zones {
        write(root, &format!("usr/share/zoneinfo/{zone}"), 0o644, &zone_file())?;
    }
    for (path, target) in LINKS {
        let path = root.join(path);
        make_parent(&path)?;
        symlink(target, path)?;
    }
    let class = match found {
        Found::Class(built) => {
            class_parts(root, &built.class)?;
            without_checks(&built.json)
        }
        _ => class_for(settings),
    };
    write(root, "usr/lib/handoff/class.json", 0o644, class.as_bytes())?;
    write(root, "usr/lib/handoff/trusted-keys", 0o644, format!("{trusted_key}\n").as_bytes())?;
    if let Some(machine) = settings.instance.as_ref().and_then(|instance| instance.machine.as_ref()) {
        write(root, "sys/class/dmi/id/product_uuid", 0o444, format!("{machine}\n").as_bytes())?;
    }
    fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700))
}

fn unit(root: &Path, name: &str, install: &str) -> io::Result<()> {
    let text = format!("[Unit]\nDescription={name} of the trial\n\n[Install]\n{install}");
    write(root, &format!("usr/lib/systemd/system/{name}"), 0o644, text.as_bytes())
}

fn write(root: &Path, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let path = root.join(path);
    make_parent(&path)?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path)?;
    file.write_all(content)?;
    // Whatever the umask is.
    file.set_permissions(fs::Permissions::from_mode(mode))
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// A time zone of one kind of time, an hour from UTC (RFC 9636, version 1).
fn zone_file() -> Vec<u8> {
    let mut file = b"TZif".to_vec();
    file.extend_from_slice(&[0; 16]);
    // Counts: UT indicators, standard indicators, leap seconds, transitions, types, bytes of designations.
    for count in [0_u32, 0, 0, 0, 1, 4] {
        file.extend_from_slice(&count.to_be_bytes());
    }
    file.extend_from_slice(&3600_u32.to_be_bytes());
    file.extend_from_slice(&[0, 0]);
    file.extend_from_slice(b"CET\0");
    file
}

/// The example's settings, as an operator would write them.
pub(super) const SETTINGS: &str = include_str!("load-balancer.toml");

/// What the example becomes when it is changed, and the changes in words.
///
/// # Errors
/// The example is not what it was when this was written.
pub(super) fn change(settings: &mut serde_json::Value) -> Result<Vec<&'static str>> {
    let mut said = Vec::new();
    if let Some(address) = settings.pointer_mut("/network/interfaces/0/addresses/0") {
        *address = "10.0.0.11/24".into();
        said.push("the interface front gets 10.0.0.11 instead of 10.0.0.10");
    }
    if let Some(users) = settings.pointer_mut("/users").and_then(serde_json::Value::as_array_mut) {
        users.retain(|user| user.get("name").is_none_or(|name| name != "guest"));
        said.push("the user guest leaves");
    }
    if let Some(files) = settings.pointer_mut("/files").and_then(serde_json::Value::as_array_mut) {
        files.retain(|file| file.get("path").is_none_or(|path| path != "/etc/motd"));
        said.push("the file /etc/motd leaves, so the image's own comes back");
    }
    Ok(said)
}
